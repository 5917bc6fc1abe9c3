"""A certificate as a figure and as text: what is certain of a map, and what is not."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.certify import Certificate, Sides
from surefoot.errors import SurefootError, optional
from surefoot.report._canvas import (
    Frame,
    Sheet,
    caption_height,
    caption_lines,
    pixels,
    show,
    tallness,
    write_caption,
)
from surefoot.report._look import NEGATIVE, POSITIVE, Look
from surefoot.report._panel import class_name, percent, sample_name, short_name
from surefoot.report._shades import Array

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

_INKS = {-1: "#d9d9d9", 0: NEGATIVE, 1: POSITIVE}
_KEY = "Red: certainly among the top k; blue: certainly not; grey: unknown."


def certificate_picture(
    certificate: Certificate,
    *,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    **choices: Any,
) -> "Picture":
    """A certificate of images as a figure, one row a sample.

    A row shows the input and, beside it, each place of its map: certainly among the top k,
    certainly not, unknown.

    Args:
        certificate: of images (N, C, H, W).
        labels: class names, in the order of the logits.
        names: of the samples, such as file names.
        choices: `size` of `surefoot.report.picture`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: inputs that are not images; an unknown choice.

    >>> import torch
    >>> from surefoot.certify import Exact
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).double().eval()
    >>> c = Exact(Gradient(), radius=0.1, k=3)(net, torch.rand(2, 3, 4, 4).double())
    >>> figure = certificate_picture(c, names=["cat.jpg", "dog.jpg"])
    >>> len(figure.axes) >= 2 * 2  # two rows: the input, and what is certain
    True
    """
    if certificate.inputs.ndim != 4:
        raise SurefootError(
            f"cannot draw a certificate of inputs of shape {tuple(certificate.inputs.shape)}; "
            "expected images (N, C, H, W)"
        )
    look = Look.of(**choices)
    look.check()
    frame = Frame(look, 2)
    said = f"{_KEY} {certificate_table(certificate)[0]}."
    lines = caption_lines(look, frame.wide, repr(certificate.recipe), said)
    heads = ["input", f"top {certificate.k} of {short_name(_explainer(certificate))}"]
    count = max(len(frame.lines(text)) for text in heads)
    tall = tallness(*certificate.inputs.shape[-2:])
    sheet = Sheet(frame, len(certificate), tall, count, below=2, foot=caption_height(lines))
    photos, masks = (one.float().cpu().numpy() for one in (certificate.inputs, certificate.mask))
    for row, (left, right) in enumerate(sheet.axes):
        show(left, pixels(photos[row]))
        show(right, _painted(masks[row]))
        sheet.say(left, class_name(int(certificate.target[row]), labels), bold=True)
        sheet.say(left, sample_name(names, row), line=1)
        for line, text in enumerate(_line(certificate, row).split(": ")):
            sheet.say(right, text, line=line)
    for axis, text in zip(sheet.axes[0], heads, strict=True):
        sheet.head(axis, text)
    write_caption(sheet.figure, lines)
    sheet.figure.alt = f"A certificate. {' '.join(certificate_table(certificate, names))}"
    sheet.figure.about = {"certifier": repr(certificate.recipe)}
    return sheet.figure


def certificate_table(certificate: Certificate, names: Sequence[str] | None = None) -> list[str]:
    r"""A certificate in words, a line for each sample.

    >>> import torch
    >>> from surefoot.certify import Exact
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).double().eval()
    >>> c = Exact(Gradient(), radius=0.1, k=3)(net, torch.rand(2, 3, 4, 4).double())
    >>> print(*certificate_table(c, names=["cat.jpg", "dog.jpg"]), sep="\n")
    linf radius 0.1, exact; 1 maps each
    cat.jpg: certain 100 %: in 100 % of k, out 100 % of the rest; of the top 3 at least 100 % stay
    dog.jpg: certain 100 %: in 100 % of k, out 100 % of the rest; of the top 3 at least 100 % stay
    """
    sure = (
        "exact"
        if not certificate.failure
        else f"wrong with probability at most {certificate.failure:g}"
    )
    top = f"{certificate.norm} radius {certificate.radius:.4g}, {sure}"
    each = [
        f"{sample_name(names, row) or f'sample {row}'}: {_line(certificate, row)}; of the top "
        f"{certificate.k} at least {percent(float(certificate.overlap[row]))} stay"
        for row in range(len(certificate))
    ]
    return [f"{top}; {certificate.maps} maps each", *each]


def sides_table(found: Sequence[Sides], names: Sequence[str] | None = None) -> list[str]:
    r"""What is proved and what is found, a line for each sample, from the floor up.

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> one = torch.ones(1)
    >>> found = Sides(Gradient(), Linf(0.1), 0.2 * one, 0.4 * one, 0.5 * one, 0.9 * one, one.long())
    >>> print(*sides_table([found], names=["cat.jpg"]), sep="\n")
    left of the top k, proved and found:
    cat.jpg: floor 20 %, ensemble 40 %, published 50 %, random 90 %
    """
    lines = [
        f"{sample_name(names, row) or f'sample {row}'}: "
        + ", ".join(f"{name} {_share(value)}" for name, value in one.means().items())
        for row, one in enumerate(found)
    ]
    reasons = dict.fromkeys(reason for one in found for reason in one.reasons)
    return ["left of the top k, proved and found:", *lines, *map(str, reasons)]


def _share(value: float) -> str:
    return "unknown" if math.isnan(value) else percent(value)


def _line(certificate: Certificate, row: int) -> str:
    inside, outside, sure = (
        percent(float(share[row]))
        for share in (certificate.certified_in, certificate.certified_out, certificate.certified)
    )
    return f"certain {sure}: in {inside} of k, out {outside} of the rest"


def _explainer(certificate: Certificate) -> object:
    return getattr(certificate.recipe, "explainer", certificate.recipe)


def _painted(mask: Array) -> Array:
    """Each place in the colour of what is known of it, (H, W, 3)."""
    colours = optional("matplotlib.colors", "cli")
    result = np.zeros((*mask.shape, 3), dtype=np.float32)
    for value, ink in _INKS.items():
        result[mask == value] = colours.to_rgb(ink)
    return result
