"""Intervals of real numbers that also hold what floating point makes of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Interval(NamedTuple):
    """Every entry lies in [low, high]; two tensors of one shape, float64."""

    low: Tensor
    high: Tensor

    @property
    def centre(self) -> Tensor:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width."""
        return (self.high - self.low) / 2

    @property
    def size(self) -> Tensor:
        """The largest absolute value."""
        return self.low.abs().maximum(self.high.abs())

    def widened(self, slack: Tensor | float) -> "Interval":
        """Both ends moved outwards."""
        return Interval(self.low - slack, self.high + slack)

    def meet(self, other: "Interval") -> "Interval":
        """What lies in both, which are known to hold the same number."""
        return Interval(self.low.maximum(other.low), self.high.minimum(other.high))


@dataclass(frozen=True)
class Rounding:
    """How far a computed number may be off the true one.

    The network runs in its own dtype and the bounds in float64. A sum of n products, in whatever
    order it is taken, is off by at most n u / (1 - n u) times the sum of their sizes (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1); u counts both dtypes, so that the bounds
    hold the exact number and the one that the network computes.

    Attributes:
        u: the unit roundoffs of the network's dtype and of float64 together.
        tiny: the smallest normal number of the network's dtype: what may be lost below it.
    """

    u: float
    tiny: float

    @classmethod
    def of(cls, dtype: torch.dtype) -> "Rounding":
        """For a network that computes in `dtype`."""
        both = torch.finfo(dtype).eps / 2 + torch.finfo(torch.float64).eps / 2
        return cls(both, float(torch.finfo(dtype).tiny))

    def slack(self, sizes: Tensor, terms: int) -> Tensor:
        """For sums of `terms` products whose sizes add up to `sizes`; sums of zeros are exact."""
        share = (terms + 4) * self.u
        lost = sizes * (share / max(1 - share, 0.5)) + (terms + 1) * self.tiny
        return torch.where(sizes > 0, lost, 0.0)


def product(a: Interval, b: Interval, rounding: Rounding) -> Interval:
    """All products of a number of one and a number of the other; the shapes broadcast."""
    corners = [x * y for x in a for y in b]
    low = corners[0].minimum(corners[1]).minimum(corners[2]).minimum(corners[3])
    high = corners[0].maximum(corners[1]).maximum(corners[2]).maximum(corners[3])
    found = Interval(low, high)
    return found.widened(rounding.slack(found.size, 1))
