"""How the linear models of all blocks are learnt at once: features that no output sees together."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from surefoot import maps
from surefoot.decoy._reach import Axis

_CPU = "cpu"  # said, because torch's default device is the user's
_NOWHERE = -1


@dataclass(frozen=True)
class Stencil:
    """Which features are nudged in one pass, and which outputs see them.

    Attributes:
        passes: (F + 1,), the pass that nudges each feature: those of one lie so far apart that an
            output sees one of them. Channels of a place come one after the other.
        count: of the passes.
        channels: of a place.
        at: (F + 1, axes), where features lie; nowhere at the end, for absent ones.
        low: (m, axes), the first place that each output sees.
        high: (m, axes), the last one.
    """

    passes: Tensor
    count: int
    channels: int
    at: Tensor
    low: Tensor
    high: Tensor

    def to(self, device: torch.device) -> "Stencil":
        """The same on another device."""
        tensors = ("passes", "at", "low", "high")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def sees(self, features: Tensor, outputs: Tensor) -> Tensor:
        """Whether outputs (B, L) may see features (B, n), (B, n, L) bool."""
        at = self.at[features][:, :, None]
        low, high = self.low[outputs][:, None], self.high[outputs][:, None]
        seen = features.new_ones(1, 1, 1, dtype=torch.bool)
        for a in range(at.shape[-1]):
            seen = seen & (low[..., a] <= at[..., a]) & (at[..., a] <= high[..., a])
        return seen


def stencil(
    axes: list[Axis], sample: tuple[int, ...], outputs: tuple[int, ...], layout: maps.Layout
) -> Stencil:
    """That of a layer with these outputs, for inputs like a sample (both without the batch)."""
    passes = torch.zeros(sample, dtype=torch.long, device=_CPU)
    count, at = 1, list[Tensor]()
    low, high = list[Tensor](), list[Tensor]()
    for along, dim in zip(axes, maps.place_axes(layout), strict=True):
        ends = [shaped(end, along.dim, len(outputs)) for end in (along.low, along.high)]
        apart = max(1, int((ends[1] - ends[0]).max()) + 1)
        position = shaped(torch.arange(sample[dim - 1], device=_CPU), dim - 1, len(sample))
        passes = passes * apart + position % apart
        count *= apart
        at.append(_ended(position.expand(sample), _NOWHERE))
        for side, end in zip((low, high), ends, strict=True):
            side.append(end.expand(outputs).flatten())
    channel = maps.channel_axis(layout)
    channels = 1 if channel is None else sample[channel - 1]
    if channel is not None:
        each = torch.arange(channels, device=_CPU)
        passes = passes * channels + shaped(each, channel - 1, len(sample))
    sides = (torch.stack(side, 1).to(torch.int32) for side in (at, low, high))
    return Stencil(_ended(passes, 0), count * channels, channels, *sides)


def _ended(values: Tensor, end: int) -> Tensor:
    return torch.nn.functional.pad(values.flatten(), (0, 1), value=end)


def shaped(values: Tensor, dim: int | None, ndim: int) -> Tensor:
    """Values along one dimension, so that they broadcast to a tensor of so many dimensions."""
    if dim is None and values.numel() > 1:
        return values
    return values.view([-1 if i == (dim or 0) else 1 for i in range(ndim)])
