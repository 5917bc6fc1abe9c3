"""A map laid over its photograph at the photograph's own size and proportions."""

from pathlib import Path

import torch
from torch import Tensor

from surefoot import report
from surefoot.data import Fit, load_pixels, locate
from surefoot.explain import Explanation
from surefoot.files import write_whole
from surefoot.report import Look


def write(path: str, photo: str, explanation: Explanation, fit: Fit, look: Look) -> None:
    """Draw the first map of an explanation over the whole photograph, to a picture file.

    Raises:
        SurefootError: it cannot be written.
    """
    whole = load_pixels(locate(photo), 1, 3, "tile").float() / 255
    heat = explanation.heatmap(look.percentile)[0].float().cpu()
    painted = report.painted(whole.permute(1, 2, 0).numpy(), placed(heat, whole, fit).numpy(), look)
    alt = f"Map of {Path(photo).name} over the photograph, by {explanation.explainer!r}"
    write_whole(path, report.bitmap(painted, Path(path).suffix.lower(), alt))


def placed(heat: Tensor, photo: Tensor, fit: Fit) -> Tensor:
    """A map (S, S) where it belongs in a photograph (C, H, W); 0 where the model saw nothing.

    >>> placed(torch.ones(2, 2), torch.zeros(3, 2, 4), "crop")
    tensor([[0., 1., 1., 0.],
            [0., 1., 1., 0.]])
    """
    high, wide = photo.shape[-2:]
    if fit == "crop":
        side = min(high, wide)
        top, left = (high - side) // 2, (wide - side) // 2
        result = torch.zeros(high, wide)
        result[top : top + side, left : left + side] = _resized(heat, side, side)
        return result
    if fit == "pad":
        side = max(high, wide)
        top, left = (side - high) // 2, (side - wide) // 2
        return _resized(heat, side, side)[top : top + high, left : left + wide]
    return _resized(heat, high, wide)


def _resized(heat: Tensor, high: int, wide: int) -> Tensor:
    grown = torch.nn.functional.interpolate(
        heat[None, None], (high, wide), mode="bilinear", align_corners=False
    )
    return grown[0, 0]
