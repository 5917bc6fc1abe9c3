"""From attributions to what colours stand for: values on a scale, and the ends of that scale."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot import maps
from surefoot.report._look import Look

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Shades:
    """One number a place, on the scale of a colour bar.

    Attributes:
        values: (N, *places), from `low` to `high`.
        low: end of the bar: 0, or the negative of `high` where there are two signs.
        high: the other end: 1 where each map is scaled by itself, else an attribution.
        caps: (N,), the attribution at `high`, for each sample.
    """

    values: Array
    low: float
    high: float
    caps: Array

    @property
    def signed(self) -> bool:
        """Whether there are two signs."""
        return self.low < 0


def ends(low: float, high: float) -> Shades:
    """A scale without values."""
    return Shades(np.zeros(1, np.float32), low, high, np.ones(1, np.float32))


def absolute(attributions: Tensor, look: Look, layout: maps.Layout) -> Shades:
    """The largest absolute value of a place's channels, see `surefoot.explain.heatmap`."""
    reduced = _smoothed(maps.reduce(attributions.detach(), "max_abs", layout), look.smooth)
    caps = _caps(reduced, look)
    if look.scale == "shared":
        return Shades(_array(reduced).clip(0, caps[0]), 0, float(caps[0]), caps)
    heat = maps.heatmap(maps.spread(reduced, layout), look.percentile, "max_abs", layout)
    return Shades(_array(heat), 0, 1, caps)


def signed(attributions: Tensor, look: Look, layout: maps.Layout) -> Shades:
    """The sum over a place's channels: zero in the middle of a scale with two equal halves."""
    summed = _smoothed(maps.reduce(attributions.detach(), "sum", layout), look.smooth)
    caps = _caps(summed.abs(), look)
    values, size = _array(summed), caps.reshape(-1, *[1] * (summed.ndim - 1))
    if look.scale == "shared":
        return Shades(values.clip(-caps[0], caps[0]), -float(caps[0]), float(caps[0]), caps)
    return Shades((values / size).clip(-1, 1), -1, 1, caps)


def has_signs(attributions: Tensor) -> bool:
    """Whether a map says what speaks against, too."""
    return bool((attributions < 0).any())


def _array(values: Tensor) -> Array:
    return values.float().cpu().numpy()


def _caps(reduced: Tensor, look: Look) -> Array:
    """The percentile of each map, or of all; the largest value where that is nothing."""
    rows = reduced.double().flatten(1).cpu().numpy()
    rows = rows.reshape(1, -1) if look.scale == "shared" else rows
    found = np.quantile(rows, look.percentile / 100, axis=1)
    found = np.where(found > rows.min(1), found, rows.max(1))
    caps = np.where(found > 0, found, 1).astype(np.float32)
    return np.broadcast_to(caps, len(reduced)).copy()


def _smoothed(reduced: Tensor, sigma: float) -> Tensor:
    """The map under a Gaussian of so many places along each axis, edges repeated."""
    if not sigma:
        return reduced
    reach = max(int(3 * sigma + 0.5), 1)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(reduced) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in range(1, reduced.ndim):
        last = reduced.movedim(axis, -1)
        index = torch.arange(-reach, last.shape[-1] + reach).clamp(0, last.shape[-1] - 1)
        windows = last[..., index.to(last.device)].unfold(-1, len(taps), 1)
        reduced = (windows * taps).sum(-1).movedim(-1, axis)
    return reduced
