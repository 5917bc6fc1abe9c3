"""Files that a command writes: checked before the work, and nobody else's overwritten."""

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError
from surefoot.report import printable

_MARK = b"surefoot"
_TABLE = re.compile(rb"model\W+explainer\W+attack\W+metric")  # the head of an audit's summary


def check(paths: Sequence[str | Path], *, force: bool) -> None:
    """Raise for a file that cannot be written, or is there and was not written by a command.

    Args:
        paths: that are to be written.
        force: whether others' files may be overwritten.

    Raises:
        SurefootError: one of them.
    """
    for path in map(Path, paths):
        _check_folder(path)
        if path.is_dir():
            raise SurefootError(f"cannot write {path}: it is a folder")
        if path.is_file() and not force and not is_own(path):
            raise SurefootError(
                f"{path} is there already, and surefoot did not write it; choose another name "
                "with --out, or overwrite it with --force"
            )


def check_own(path: Path) -> None:
    """Raise for a file in a run's folder that is somebody else's.

    Raises:
        SurefootError: there is one; the message names the option for another folder.
    """
    if path.is_file() and not is_own(path):
        raise SurefootError(
            f"{path} is there already, and surefoot did not write it; choose another folder with "
            "--out"
        )


def is_own(path: Path) -> bool:
    """Whether one of this library's commands wrote the file, which it says itself.

    Raises:
        SurefootError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SurefootError(f"cannot write {path}: {error.strerror or error}") from error
    if path.suffix == ".yaml":
        return content.startswith(b"# surefoot ")
    # NumPy holds text in four bytes a letter.
    marked = _MARK in content or _MARK.decode().encode("utf-32-le") in content
    return marked or _TABLE.search(content[:500]) is not None


def numbered(path: str | Path, number: int) -> Path:
    """The name of a run's file for its picture of that number, from 1.

    >>> str(numbered("map.png", 1)), str(numbered("map.png", 2))
    ('map.png', 'map-2.png')
    """
    path = Path(path)
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _check_folder(path: Path) -> None:
    folder = path.resolve().parent
    if not path.parent.is_dir():
        raise SurefootError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        return  # a device
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SurefootError(f"cannot write {path}: {error.strerror or error}") from error


def say(settings: Any, lines: Sequence[str]) -> None:
    """What was found, a line each, on standard output; nothing with --quiet or --json."""
    if not (settings.quiet or settings.json):
        for line in lines:
            print(printable(line))


def wrote(settings: Any, paths: Sequence[str | Path]) -> None:
    """What was written, on standard error."""
    if not (settings.quiet or settings.json) and paths:
        print(f"surefoot: wrote {printable(', '.join(map(str, paths)))}", file=sys.stderr)


def tell(settings: Any, found: Mapping[str, Any]) -> None:
    """With --json: one line of JSON on standard output."""
    if settings.json:
        print(json.dumps(found, ensure_ascii=True))
