"""Photographs as tensors, and the free ones that installed packages bring."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import MissingExtraError, SurefootError, optional, suggest

# name, package, path inside it. The eagle is one of foolbox's labelled ImageNet photographs.
_KNOWN = (
    ("chelsea", "skimage", "data/chelsea.png"),
    ("coffee", "skimage", "data/coffee.png"),
    ("eagle", "foolbox", "data/imagenet_17_22.jpg"),
)


def photographs() -> list[tuple[str, Path]]:
    """The real photographs found in installed packages, `(name, path)`.

    scikit-image has a cat ("chelsea") and a cup of coffee ("coffee"), foolbox a bald eagle
    ("eagle"). The packages are not imported.

    Raises:
        MissingExtraError: none of the packages is installed.
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
    brought to `size` by bicubic resampling, and cut to the middle square.

    Raises:
        SurefootError: the file cannot be read, is not a picture, or has more than 8 bits.
    """
    if size < 1:
        raise SurefootError(f"size={size}, expected at least 1 pixel")
    return square(_rgb(path), size).float() / 255


def load_pixels(path: str | Path, size: int, channels: int = 3) -> Tensor:
    """A photograph as `load_image` makes it, in bytes: (channels, size, size) uint8."""
    image = _rgb(path)
    return square(image if channels == 3 else image.convert("L"), size)


def square(image: Any, size: int) -> Tensor:
    """The middle of a Pillow image, resampled to `size`: (C, size, size) uint8."""
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    left, top = (wide - size) // 2, (high - size) // 2
    pillow = optional("PIL.Image", "cli")
    resized = image.resize((wide, high), pillow.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized.crop((left, top, left + size, top + size))))
    return pixels.view(size, size, -1).permute(2, 0, 1).contiguous()


def _rgb(path: str | Path) -> Any:
    pillow, operations = optional("PIL.Image", "cli"), optional("PIL.ImageOps", "cli")
    try:
        with pillow.open(path) as opened:
            image = operations.exif_transpose(opened)
            image.load()
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SurefootError(f"cannot read the photograph {path}: {reason}") from error
    if image.mode[0] in "IF":
        raise SurefootError(
            f"the photograph {path} has more than 8 bits a pixel ({image.mode}); convert it to an "
            "8-bit picture first"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image).convert("RGB")


def _inside(package: str, path: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations if spec else None) or []:
        if (found := Path(place) / path).is_file():
            return found
    return None
