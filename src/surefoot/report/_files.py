"""Figures as files that say what they show and how it was made."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.errors import SurefootError, optional
from surefoot.version import versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")
_MOST_PIXELS = 60_000  # of a side: beyond it no format can be relied on


def render(figure: "Figure", suffix: str = ".png", dpi: int = 150) -> bytes:
    """The figure as the bytes of a file of that kind, see `SUFFIXES`.

    Its metadata holds what it shows in words, recipe, model and versions: as text chunks of PNG,
    as keywords of PDF and SVG, as the comment of JPEG, as the EXIF description of WebP. A figure
    that would be larger than any format allows is drawn with fewer dots an inch.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    >>> from surefoot.report import picture
    >>> render(picture(Gradient().explain(net, torch.rand(1, 3, 4, 4))), ".png")[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    dpi = min(dpi, int(_MOST_PIXELS / max(figure.get_size_inches())))
    kind = suffix.removeprefix(".")
    figure.savefig(buffer, format=kind, dpi=dpi, **_metadata(figure, suffix))
    return buffer.getvalue()


def bitmap(pixels: "NDArray[np.float32]", suffix: str, alt: str) -> bytes:
    """Pixels (H, W, 3) in [0, 1] as the bytes of a picture of their own size."""
    pillow, told = optional("PIL.Image", "cli"), json.dumps(versions("torch"))
    picture = pillow.fromarray((255 * pixels).round().clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    chunks = optional("PIL.PngImagePlugin", "cli").PngInfo()
    chunks.add_itxt("Description", alt)
    chunks.add_itxt("surefoot", told)
    more = {".png": {"pnginfo": chunks}}.get(suffix, {"comment": f"surefoot {told} {alt}".encode()})
    picture.save(buffer, pillow.registered_extensions()[suffix], **more)
    return buffer.getvalue()


def check_suffix(path: Path) -> None:
    """Raise unless a picture can be written under that name.

    >>> check_suffix(Path("map.png"))
    >>> try:
    ...     check_suffix(Path("map.doc"))
    ... except SurefootError as error:
    ...     print(str(error)[:23])
    cannot draw to map.doc;
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SurefootError(
            f"cannot draw to {path}; its name must end in one of {', '.join(SUFFIXES)}"
        )


def about(figure: "Figure") -> dict[str, str]:
    """What the file of a figure tells of how it was made."""
    return {**(getattr(figure, "about", None) or {}), **versions("torch", "matplotlib")}


def _metadata(figure: "Figure", suffix: str) -> dict[str, Any]:
    """The arguments of `savefig` that put it into a file of that kind."""
    told, alt = json.dumps(about(figure)), getattr(figure, "alt", "")
    maker = f"surefoot {about(figure)['surefoot']}"
    if suffix == ".png":
        return {"metadata": {"Software": maker, "Description": alt, "surefoot": told}}
    # Without None, a vector graphic would hold the time it was made.
    if suffix == ".pdf":
        words = {"Creator": maker, "Subject": alt, "Keywords": told, "CreationDate": None}
        return {"metadata": words}
    if suffix == ".svg":
        words = {"Creator": maker, "Description": alt, "Keywords": [told], "Date": None}
        return {"metadata": words}
    if suffix == ".webp":
        exif = optional("PIL.Image", "cli").Exif()
        exif[0x010E], exif[0x0131] = f"{alt} {told}".encode(), maker.encode()
        return {"pil_kwargs": {"exif": exif.tobytes()}}
    return {"pil_kwargs": {"comment": f"{maker} {told} {alt}".encode()[:60_000]}}
