"""A first map in the terminal, in half blocks of true colour."""

import shutil
import sys

import numpy as np
import torch
from torch import Tensor

from surefoot import report
from surefoot.explain import Explanation, Gradient

_UPPER = "\u2580"


def show(image: Tensor, model: torch.nn.Module, target: int | None, title: str) -> None:
    """Print a photograph beside its plain gradient map, which takes one pass, to standard error."""
    plain = Gradient().explain(model, image, target)
    print(f"surefoot: {title}, plain gradient first", file=sys.stderr)
    for line in lines(plain, min(shutil.get_terminal_size().columns, 120)):
        print(line, file=sys.stderr)
    sys.stderr.flush()


def lines(explanation: Explanation, columns: int) -> list[str]:
    """Photograph and heat map side by side, two rows of pixels a line, in so many columns."""
    wide = (columns - 2) // 2
    photo = _resized(explanation.inputs[:1].float(), wide)
    pixels = photo.expand(1, 3, -1, -1)[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    heat = _resized(explanation.heatmap(95)[:1, None].float(), wide)[0, 0].cpu().numpy()
    return [
        f"{left}  {right}"
        for left, right in zip(_blocks(pixels), _blocks(report.coloured(heat)), strict=True)
    ]


def _resized(picture: Tensor, wide: int) -> Tensor:
    high = 2 * max(1, round(wide * picture.shape[-2] / picture.shape[-1] / 2))
    return torch.nn.functional.interpolate(picture, (high, wide), mode="area")


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
