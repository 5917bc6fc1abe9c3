"""A first map in the terminal: half blocks of true colour, or letters where it has no colours."""

import os
import shutil
import sys

import numpy as np
import torch
from torch import Tensor

from surefoot import report
from surefoot.explain import Explanation, Gradient

_UPPER = "\u2580"
_RAMP = " .:-=+*#%@"  # from dark to light


def show(image: Tensor, model: torch.nn.Module, target: int | None, title: str) -> None:
    """Print a photograph beside its plain gradient map, which takes one pass, to standard error."""
    refined(Gradient().explain(model, image, target), f"{title}, plain gradient first")


def refined(explanation: Explanation, title: str) -> None:
    """Print a photograph beside its map, to standard error."""
    print(f"surefoot: {report.printable(title)}", file=sys.stderr)
    wide = min(shutil.get_terminal_size().columns, 120)
    for line in lines(explanation, wide, coloured=has_colours()):
        print(line, file=sys.stderr)
    sys.stderr.flush()


def has_colours() -> bool:
    """Whether the terminal takes colours and blocks, as far as it says (no-color.org)."""
    encoding = (getattr(sys.stderr, "encoding", None) or "ascii").lower()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return not plain and encoding.startswith("utf")


def lines(explanation: Explanation, columns: int, *, coloured: bool = True) -> list[str]:
    """Photograph and heat map side by side, two rows of pixels a line, in so many columns."""
    wide = max(1, (columns - 2) // 2)
    photo = _resized(explanation.inputs[:1].detach().float(), wide)
    pixels = photo.expand(1, 3, -1, -1)[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    heat = _resized(explanation.heatmap(95)[:1, None].float(), wide)[0, 0].cpu().numpy()
    if coloured:
        pair = (_blocks(pixels), _blocks(report.coloured(heat)))
    else:
        pair = (_letters(pixels.mean(2)), _letters(heat))
    return [f"{left}  {right}" for left, right in zip(*pair, strict=True)]


def _resized(picture: Tensor, wide: int) -> Tensor:
    high = 2 * max(1, round(wide * picture.shape[-2] / picture.shape[-1] / 2))
    return torch.nn.functional.interpolate(picture, (high, wide), mode="area")


def _letters(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> list[str]:
    """Lines of letters, the lighter the larger, for (H, W) in [0, 1], H even."""
    pairs = (values[::2] + values[1::2]) / 2
    places = (pairs * len(_RAMP)).astype(int).clip(0, len(_RAMP) - 1)
    return ["".join(_RAMP[place] for place in row) for row in places]


def _blocks(picture: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> list[str]:
    """Lines of half blocks for (H, W, 3) in [0, 1], H even."""
    values = (255 * picture).round().astype(int)
    made = []
    for upper, lower in zip(values[::2], values[1::2], strict=True):
        cells = [
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m{_UPPER}"
            for a, b in zip(upper, lower, strict=True)
        ]
        made.append(f"{''.join(cells)}\x1b[0m")
    return made
