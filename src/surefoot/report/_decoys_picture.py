"""Decoys as a figure: inputs that a layer cannot tell apart, and where they differ."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surefoot.decoy import Decoys
from surefoot.errors import SurefootError
from surefoot.report._attack_picture import magnification
from surefoot.report._attack_rows import pixel_steps
from surefoot.report._canvas import (
    Frame,
    Sheet,
    caption_height,
    caption_lines,
    hatch,
    pixels,
    rgb,
    show,
    tallness,
    write_caption,
)
from surefoot.report._embed import image
from surefoot.report._look import Look

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

_ROWS = 4


def decoys_picture(decoys: Decoys, **choices: Any) -> "Picture":
    """Decoys of images as a figure, one row an image: original, a decoy, changes, cover.

    The decoy is the one that moved most. The changes, at each place the largest by any decoy,
    stand around grey, magnified by a power of two; strokes mark places in no decoy's patch.

    Args:
        decoys: from `surefoot.decoy.make_decoys`, of images; the first four are shown.
        choices: `size` of `surefoot.report.picture`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: decoys of other inputs than images; an unknown choice.

    >>> from surefoot.decoy import make_decoys
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.Flatten())
    >>> net = torch.nn.Sequential(*net, torch.nn.Linear(64, 2)).eval()
    >>> d = make_decoys(net, torch.rand(1, 3, 9, 9), layer="0", decoys=4)
    >>> len(decoys_picture(d).axes) >= 4  # original, a decoy, changes, cover
    True
    """
    if decoys.inputs.ndim != 5:
        raise SurefootError(
            f"cannot draw decoys of inputs of shape {tuple(decoys.inputs.shape[2:])}; expected "
            "images (C, H, W)"
        )
    look = Look.of(**choices)
    look.check()
    found = decoys.inputs[:_ROWS].detach().double().cpu()
    clean = originals(found, decoys.masks.cpu())
    best = (found - clean[:, None]).abs().flatten(2).sum(2).argmax(1).tolist()
    change = torch.stack([found[row, place] for row, place in enumerate(best)]) - clean
    moves = found - clean[:, None]
    largest = moves.gather(1, moves.abs().argmax(1, keepdim=True))[:, 0]
    factor = magnification(float(largest.abs().flatten().quantile(0.98)))
    frame = Frame(look, 4)
    lines = caption_lines(look, frame.wide, repr(decoys), _told(decoys))
    heads = ["original", "decoy that moves most", _difference(largest, factor), "covered by decoys"]
    count = max(len(frame.lines(text)) for text in heads)
    tall = tallness(*found.shape[-2:])
    sheet = Sheet(frame, len(found), tall, heads=count, foot=caption_height(lines))
    absent = (~decoys.masks.cpu().any(0)).numpy()
    for row, four in enumerate(sheet.axes):
        photo = pixels(clean[row].float().numpy())
        grey = 0.5 + factor * rgb(largest[row].float().numpy())
        moved = pixels((clean + change)[row].float().numpy())
        for axis, shown in zip(four, (photo, moved, grey.clip(0, 1), photo), strict=True):
            show(axis, shown)
        hatch(four[3], absent)
        sheet.say(four[1], _certificate(decoys, row, best[row]))
    for axis, text in zip(sheet.axes[0], heads, strict=True):
        sheet.head(axis, text)
    write_caption(sheet.figure, lines)
    sheet.figure.alt = f"Decoys. {decoys!r}. {_told(decoys)}"
    sheet.figure.about = {"decoys": repr(decoys)}
    return sheet.figure


def decoys_html(decoys: Decoys) -> str | None:
    """What a notebook shows of decoys; None where nothing can be drawn."""
    try:
        drawn = decoys_picture(decoys)
    except SurefootError:
        return None
    return image(drawn._repr_png_(), drawn.alt)


def originals(inputs: Tensor, masks: Tensor) -> Tensor:
    """The inputs that decoys were made of: at each place, a decoy that may not differ there.

    Where every decoy may differ, it is their mean.

    >>> a = torch.tensor([[[5.0, 1.0], [0.0, 7.0]]])
    >>> originals(a[:, :, None, None], torch.tensor([[[True, False]], [[False, True]]]))
    tensor([[[[0., 1.]]]])
    """
    free = ~masks
    which = free.int().argmax(0).expand(*inputs.shape[:1], 1, *inputs.shape[2:])
    taken = inputs.gather(1, which)[:, 0]
    return torch.where(free.any(0), taken, inputs.mean(1))


def _difference(largest: Tensor, factor: int) -> str:
    most = float(largest.abs().max())
    said = f"changes by any decoy ×{factor}"  # noqa: RUF001 (the sign)
    return f"{said}, at most {pixel_steps(most)}" if most else "changes: none"


def _certificate(decoys: Decoys, row: int, place: int) -> str:
    deviation = float(decoys.deviation[row, place])
    return f"changes the layer by {deviation:.2g} {decoys.units}"


def _told(decoys: Decoys) -> str:
    return (
        f"The network after layer {decoys.layer} cannot tell these from the originals by more "
        f"than {decoys.epsilon:g} ({decoys.units}); decoys cover {decoys.coverage:.0%} of the "
        "places, and strokes mark the rest."
    )
