"""Activations and products: bounds of their values and of their derivatives."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from surefoot.certify._bounds import Bound
from surefoot.certify._interval import Interval, Rounding, product
from surefoot.certify._steps import Pointwise

_ULPS = 16  # how far a library's tanh or softplus may be off, in unit roundoffs; generous


@dataclass(frozen=True)
class Kinked:
    """Straight pieces that meet at kinks: below the first, between them, above the second.

    Attributes:
        kinks: where, ascending; one or two.
        slopes: of the pieces, one more than kinks, none negative; a number, or a tensor that
            broadcasts.
        closed: whether at the first kink itself PyTorch may take either slope; else it takes that
            below, as ReLU does.
    """

    kinks: tuple[float, ...]
    slopes: tuple[float | Tensor, ...]
    closed: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """The value, which at the first kink is the kink itself."""
        first, last = self.kinks[0], self.kinks[-1]
        below, above = (x - first).clamp_max(0), (x - last).clamp_min(0)
        middle = x.clamp(first, last) - first if len(self.kinks) > 1 else torch.zeros_like(x)
        inner = self.slopes[1] if len(self.kinks) > 1 else 0.0
        return self.slopes[0] * below + inner * middle + self.slopes[-1] * above + first

    def step(self, x: Bound, rounding: Rounding) -> Pointwise:
        """The activation of a bounded argument."""
        low, high = x.interval
        ends = Interval(self(low), self(high))
        exact = self.kinks[0] == 0 and all(
            isinstance(s, float) and s in (0, 1) for s in self.slopes
        )
        sizes = ends.size + abs(self.kinks[0])
        value = ends if exact else ends.widened(rounding.slack(sizes, 3))
        slope = self._slope(low, high)
        return Pointwise(value, [(x, slope)], self._chord(x.interval, ends, slope, rounding))

    def _slope(self, low: Tensor, high: Tensor) -> Interval:
        """The hull of the slopes of the pieces that the interval meets, kinks themselves too."""
        inf = torch.full_like(low, torch.inf)
        least, most = inf, -inf
        edges = (-torch.inf, *self.kinks, torch.inf)
        for slope, start, stop in zip(self.slopes, edges, edges[1:], strict=False):
            above = high > start if start == self.kinks[0] and not self.closed else high >= start
            met = above & (low <= stop)
            s = torch.as_tensor(slope, dtype=low.dtype).expand_as(low)
            least = torch.where(met, least.minimum(s), least)
            most = torch.where(met, most.maximum(s), most)
        return Interval(least, most)

    def _chord(
        self, x: Interval, ends: Interval, slope: Interval, rounding: Rounding
    ) -> tuple[Tensor, Interval]:
        """The chord between the ends; what is left of the curve is extreme at ends and kinks."""
        low, high = x
        width = high - low
        along = torch.where(width > 0, (ends.high - ends.low) / width, slope.low)
        along = torch.where(slope.low == slope.high, slope.low, along)
        points = [low, high, *(low.maximum(high.minimum(low.new_tensor(k))) for k in self.kinks)]
        rests = torch.stack([self(p) - along * p for p in points])
        sizes = x.size * (1 + along.abs()) + ends.size
        return along, Interval(rests.amin(0), rests.amax(0)).widened(rounding.slack(sizes, 3))


@dataclass(frozen=True)
class Rising:
    """A smooth rising function whose derivative is least at an end of any interval.

    Attributes:
        value: f.
        slope: f'.
        peak: where f' is largest; infinity where it never falls.
        off: how far PyTorch's own f and f' may be off these, rounding aside.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    peak: float
    off: float = 0.0

    def step(self, x: Bound, rounding: Rounding) -> Pointwise:
        """The activation of a bounded argument."""
        low, high = x.interval
        slack = _ULPS * rounding.u
        value = Interval(self.value(low), self.value(high))
        value = value.widened(slack * value.size + rounding.tiny + self.off)
        top = low.maximum(high.clamp_max(self.peak))
        least = self.slope(low).minimum(self.slope(high))
        slope = Interval(least, self.slope(top)).widened(slack + self.off)
        # f(x) - least x rises, too, so what is left of it is extreme at the ends.
        rest = Interval(value.low - least * low, value.high - least * high)
        sizes = value.size + least * x.interval.size
        return Pointwise(value, [(x, slope)], (least, rest.widened(slack * sizes + rounding.tiny)))


def _softplus(beta: float = 1, threshold: float = 20) -> Rising:
    # Above the threshold PyTorch takes the identity.
    return Rising(
        lambda x: F.softplus(x, beta=beta, threshold=1e9),
        lambda x: (beta * x).sigmoid(),
        torch.inf,
        math.exp(-threshold) * max(1.0, 1 / beta),
    )


def _leaky(slope: Any = 0.01) -> Kinked | None:
    return Kinked((0.0,), (slope, 1.0)) if (torch.as_tensor(slope) >= 0).all() else None


def _clamp(low: Any = None, high: Any = None, *, closed: bool = True) -> Kinked | None:
    if isinstance(low, Tensor) or isinstance(high, Tensor) or (low is None and high is None):
        return None
    if low is None:
        return Kinked((float(high),), (1.0, 0.0), closed)
    if high is None:
        return Kinked((float(low),), (0.0, 1.0), closed)
    return Kinked((float(low), float(high)), (0.0, 1.0, 0.0), closed)


_CURVES: Mapping[str, Callable[..., Kinked | Rising | None]] = {
    "relu": lambda: Kinked((0.0,), (0.0, 1.0)),
    "relu6": lambda: Kinked((0.0, 6.0), (0.0, 1.0, 0.0)),
    "leaky_relu": _leaky,
    "_prelu_kernel": _leaky,
    "hardtanh": lambda low=-1.0, high=1.0: _clamp(low, high, closed=False),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "sigmoid": lambda: Rising(torch.sigmoid, lambda x: x.sigmoid() * (-x).sigmoid(), 0.0),
    "tanh": lambda: Rising(torch.tanh, lambda x: torch.cosh(x).square().reciprocal(), 0.0),
    "softplus": _softplus,
}


def known() -> list[str]:
    """The names of the activations."""
    return [name.removeprefix("_").removesuffix("_kernel") for name in _CURVES]


def activation(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], rounding: Rounding
) -> Pointwise | None:
    """The step of an activation, None where it is none of these."""
    if name not in _CURVES or not isinstance(args[0], Bound):
        return None
    curve = _CURVES[name](*args[1:], **kwargs)
    return None if curve is None else curve.step(args[0], rounding)


def multiplied(x: Bound, y: Bound, rounding: Rounding) -> Pointwise:
    """The product of two bounded tensors."""
    return Pointwise(product(x.interval, y.interval, rounding), [(x, y.interval), (y, x.interval)])
