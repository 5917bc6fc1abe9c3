"""How the linear models of all blocks are learnt at once: features that no output sees together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot import maps
from surefoot.decoy._reach import Axis

_CPU = "cpu"  # said, because torch's default device is the user's


@dataclass(frozen=True)
class Stencil:
    """Which features are nudged in one pass, and which outputs see them.

    Attributes:
        probe: (F,), the pass that nudges each feature: so far apart that an output sees one.
        count: of the passes.
        at: (F + 1, axes), where features lie; nowhere at the end, for absent ones.
        low: (m, axes), the first place that each output sees.
        high: (m, axes), the last one.
    """

    probe: Tensor
    count: int
    at: Tensor
    low: Tensor
    high: Tensor

    def sees(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Whether outputs (B, L) may see features (B, n), (B, n, L) bool."""
        at = self.at.to(features.device)[features][:, :, None]
        low, high = (side.to(outputs.device)[outputs][:, None] for side in (self.low, self.high))
        seen = features.new_ones(1, 1, 1, dtype=torch.bool)
        for a in range(at.shape[-1]):
            seen = seen & (low[..., a] <= at[..., a]) & (at[..., a] <= high[..., a])
        return seen


def stencil(
    axes: list[Axis], sample: tuple[int, ...], outputs: tuple[int, ...], layout: maps.Layout
) -> Stencil:
    """That of a layer with these outputs, for inputs like a sample (both without the batch)."""
    probe = torch.zeros(sample, dtype=torch.long, device=_CPU)
    count, at, low, high = 1, [], [], []
    for along, dim in zip(axes, maps.place_axes(layout), strict=True):
        ends = [shaped(end, along.dim, len(outputs)) for end in (along.low, along.high)]
        apart = max(1, int((ends[1] - ends[0]).max()) + 1)
        position = shaped(torch.arange(sample[dim - 1], device=_CPU), dim - 1, len(sample))
        probe = probe * apart + position % apart
        count *= apart
        at.append(torch.nn.functional.pad(position.expand(sample).flatten(), (0, 1), value=-1))
        for side, end in zip((low, high), ends, strict=True):
            side.append(end.expand(outputs).flatten())
    if (channel := maps.channel_axis(layout)) is not None:
        size = sample[channel - 1]
        probe = probe * size + shaped(torch.arange(size, device=_CPU), channel - 1, len(sample))
        count *= size
    sides = (torch.stack(side, 1).to(torch.int32) for side in (at, low, high))
    return Stencil(probe.flatten(), count, *sides)


def shaped(values: Tensor, dim: int | None, ndim: int) -> Tensor:
    """Values along one dimension, so that they broadcast to a tensor of so many dimensions."""
    if dim is None and values.numel() > 1:
        return values
    return values.view([-1 if i == (dim or 0) else 1 for i in range(ndim)])
