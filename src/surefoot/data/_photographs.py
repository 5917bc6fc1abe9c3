"""Photographs as tensors, and the free ones that installed packages bring."""

import importlib.util
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import (
    MissingExtraError,
    SurefootError,
    SurefootWarning,
    optional,
    suggest,
)

Fit = Literal["crop", "pad", "squash", "tile"]

_ORIENTATION = 0x0112  # the EXIF tag
_APPLE = (".heic", ".heif", ".hif")
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, struct.error)
# name, package, path inside it. The eagle is one of foolbox's labelled ImageNet photographs.
_KNOWN = (
    ("chelsea", "skimage", "data/chelsea.png"),
    ("coffee", "skimage", "data/coffee.png"),
    ("eagle", "foolbox", "data/imagenet_17_22.jpg"),
)


_LONGEST = 256
_SIXTEEN_BITS = 65535
_DARK = 12  # 12 bits in 16 use a sixteenth of the range


def photographs() -> list[tuple[str, Path]]:
    """The real photographs found in installed packages, `(name, path)`.

    scikit-image has a cat ("chelsea") and a cup of coffee ("coffee"), foolbox a bald eagle
    ("eagle"). The packages are not imported.

    Raises:
        MissingExtraError: none of the packages is installed.

    >>> [name for name, path in photographs()][:2]
    ['chelsea', 'coffee']
    """
    places = [(name, _inside(package, path)) for name, package, path in _KNOWN]
    found = [(name, path) for name, path in places if path is not None]
    if not found:
        raise MissingExtraError(
            'there are no photographs; install some with: pip install "surefoot[demo]"'
        )
    return found


def locate(photo: str | Path) -> Path:
    """The path itself if there is such a file, else the photograph of that name.

    Raises:
        SurefootError: there is neither.

    >>> locate("coffee").name
    'coffee.png'
    """
    if Path(photo).exists():
        return Path(photo)
    try:
        known = dict(photographs())
    except MissingExtraError:
        known = {}
    if str(photo) in known:
        return known[str(photo)]
    hint = f", nor a built-in one of that name; {suggest(str(photo), known)}" if known else ""
    raise SurefootError(f"there is no photograph {photo}{hint}")


def load_image(path: str | Path, size: int) -> Tensor:
    """A photograph as (3, size, size) in [0, 1].

    Turned as its EXIF data say, made RGB (on white where it is transparent), its short side
    brought to `size` by bicubic resampling, and cut to the middle square. Of 16 bits, grey is
    rounded to 8 and colours are cut to their upper 8, as Pillow reads them; grey in floats goes
    from 0 to 1.

    Raises:
        SurefootError: the file cannot be read or is not a picture; values beyond 16 bits, floats
            outside [0, 1].

    >>> load_image(locate("chelsea"), size=64).shape
    torch.Size([3, 64, 64])
    """
    if size < 1:
        raise SurefootError(f"size={size}, expected at least 1 pixel")
    return square(_rgb(path), size).float() / 255


def load_pixels(path: str | Path, size: int, channels: int = 3, fit: Fit = "crop") -> Tensor:
    """A photograph in bytes, (channels, size, size) uint8, brought to squares in one of four ways.

    Args:
        path: of the file.
        size: side of the square, in pixels.
        channels: 3, or 1 for grey.
        fit: "crop" cuts the middle square out, as `load_image` does; "pad" brings the long side
            to `size` and puts grey around; "squash" forgets the proportions; "tile" leaves the
            photograph as large as it is, (channels, H, W), but no side smaller than `size`.

    Raises:
        SurefootError: as `load_image`.
    """
    image = _rgb(path) if channels == 3 else _rgb(path).convert("L")
    if fit == "crop":
        return square(image, size)
    pillow, operations = optional("PIL.Image", "cli"), optional("PIL.ImageOps", "cli")
    cubic = pillow.Resampling.BICUBIC
    if fit == "pad":
        grey = "#808080" if channels == 3 else 128
        return _bytes(operations.pad(image, (size, size), cubic, color=grey))
    if fit == "squash":
        return _bytes(image.resize((size, size), cubic))
    larger = max(1, size / min(image.size))
    return _bytes(image.resize([max(size, round(side * larger)) for side in image.size], cubic))


def dimensions(path: str | Path) -> tuple[int, int]:
    """Width and height of a photograph as it is shown, from its head alone.

    Raises:
        SurefootError: the file is no picture.
    """
    with _opened(path) as image:
        # Of a PNG without that part in its head, Pillow would decode all pixels to look for it.
        known = image.format != "PNG" or "exif" in image.info
        turned = known and image.getexif().get(_ORIENTATION, 1) >= 5
        wide, high = image.size
    return (high, wide) if turned else (wide, high)


def square(image: Any, size: int) -> Tensor:
    """The middle of a Pillow image, resampled to `size`: (C, size, size) uint8."""
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    if max(wide, high) > _LONGEST * size:
        raise SurefootError(
            f"the picture is {image.size[0]} x {image.size[1]} pixels, too narrow for a square of "
            f"its middle; expected at most {_LONGEST} times as long as wide"
        )
    left, top = (wide - size) // 2, (high - size) // 2
    pillow = optional("PIL.Image", "cli")
    resized = image.resize((wide, high), pillow.Resampling.BICUBIC)
    return _bytes(resized.crop((left, top, left + size, top + size)))


def _bytes(image: Any) -> Tensor:
    """A Pillow image as (C, H, W) uint8."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1).contiguous()


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """The file as Pillow opens it, whatever is wrong with it as one error."""
    pillow = optional("PIL.Image", "cli")
    apple = Path(path).suffix.lower() in _APPLE
    if apple and importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on a file's tags
            with pillow.open(path) as image:
                yield image
    except (*_UNREADABLE, pillow.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        hint = "; Pillow reads such files with: pip install pillow-heif" if apple else ""
        raise SurefootError(f"cannot read the photograph {path}: {reason}{hint}") from error


def shorter_side(path: Path) -> int:
    """Of a picture file, in pixels."""
    with _opened(path) as image:
        return int(min(image.size))


def _rgb(path: str | Path) -> Any:
    pillow, operations = optional("PIL.Image", "cli"), optional("PIL.ImageOps", "cli")
    with _opened(path) as opened:
        image = operations.exif_transpose(opened)
        image.load()
    if image.mode[0] in "IF":
        return pillow.fromarray(_eight_bits(np.asarray(image), path)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image).convert("RGB")


def _eight_bits(
    values: "np.ndarray[tuple[int, ...], np.dtype[Any]]", path: str | Path
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Grey of 16 bits, 0 to 65535, or of floats, 0 to 1, as bytes."""
    most = 1.0 if values.dtype.kind == "f" else _SIXTEEN_BITS
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= most:
        raise SurefootError(
            f"the photograph {path} has values from {low:g} to {high:g}, expected whole numbers "
            f"from 0 to {_SIXTEEN_BITS} or floats from 0 to 1; scale it and save it again"
        )
    if 0 < high < most / _DARK:
        warnings.warn(
            f"the photograph {path} has values up to {high:g} of {most:g} and is nearly black to "
            "the model; if they are of fewer bits, scale it and save it again",
            SurefootWarning,
            stacklevel=2,
        )
    return (255 / most * values.astype(np.float64)).round().astype(np.uint8)


def _inside(package: str, path: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations if spec else None) or []:
        if (found := Path(place) / path).is_file():
            return found
    return None
