"""Which photographs are meant, and what is to be said of them before any work."""

import ast
import glob
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from surefoot.data import Fit
from surefoot.errors import SurefootError, SurefootWarning

# What a folder's other files are not taken for.
PICTURES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".jp2", ".tga", ".ico"),
)
_ENLARGED = 8  # times, from which on a map shows more of the resampling than of the photograph
_PANORAMA = 2.5  # times as long as wide


def expand(photos: Sequence[str]) -> list[str]:
    """Files for what was given: each picture of a folder, what a pattern fits, the lines of `-`.

    Raises:
        SurefootError: a folder without pictures, or a pattern that fits none.
    """
    found: list[str] = []
    for given in photos:
        photo = _named(given)
        each, before = list(_expanded(photo)), set(found)
        # What a folder and a pattern both have is meant once; a name given twice is taken twice.
        found += each if each == [photo] else [one for one in each if one not in before]
    return found


def _expanded(photo: str) -> Iterator[str]:
    if photo == "-":
        yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
    elif Path(photo).is_dir():
        yield from _pictures(photo, Path(photo).iterdir(), "the folder")
    elif any(sign in photo for sign in "*?[") and not Path(photo).exists():
        found = glob.iglob(photo, recursive=True)  # noqa: PTH207 (absolute ones, too)
        yield from _pictures(photo, map(Path, found), "the pattern")
    else:
        yield photo


def kept(photo: str) -> str:
    r"""A file's name as a configuration can hold it: as bytes where it is no UTF-8.

    >>> kept("a.png"), kept("caf\udce9.png")
    ('a.png', "b'caf\\xe9.png'")
    """
    try:
        photo.encode()
    except UnicodeEncodeError:
        return repr(os.fsencode(photo))
    return photo


def _named(photo: str) -> str:
    """The name that `kept` wrote."""
    if not photo.startswith(("b'", 'b"')) or Path(photo).exists():
        return photo
    try:
        return os.fsdecode(ast.literal_eval(photo))
    except (SyntaxError, ValueError, TypeError):
        return photo


def _pictures(photo: str, files: Iterator[Path], what: str) -> list[str]:
    found = sorted(str(f) for f in files if f.suffix.lower() in PICTURES and f.is_file())
    if not found:
        raise SurefootError(
            f"{what} {photo} has no pictures; expected files ending in {', '.join(PICTURES[:6])} "
            "or the like"
        )
    return found


def check(
    photos: Sequence[str], sizes: Sequence[tuple[int, int]], size: int, fit: Fit
) -> list[str]:
    """Warn of odd widths and heights; what part of each photograph the model sees, "" for all."""
    each = zip(photos, sizes, strict=True)
    return [_check(photo, wide, high, size, fit) for photo, (wide, high) in each]


def _check(photo: str, wide: int, high: int, size: int, fit: Fit) -> str:
    short, long = sorted((wide, high))
    if size >= _ENLARGED * short:
        _warn(
            f"{photo} has {wide} x {high} pixels and is enlarged {size / short:.0f} times: its map "
            "shows the enlargement, too"
        )
    if fit != "crop" or short == long:
        return ""
    share = f"the middle {short / long:.0%}".replace("%", " %")
    if long >= _PANORAMA * short:
        _warn(
            f"{photo} has {wide} x {high} pixels, and the model sees {share} of it alone; take all "
            "of it with --fit pad, squash or tile"
        )
    return share


def _warn(text: str) -> None:
    warnings.warn(text, SurefootWarning, stacklevel=2)
