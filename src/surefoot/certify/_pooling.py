"""Maximum pooling: which entries of a window may be the largest, and which must be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from surefoot.certify._bounds import Bound, Symbols, through, times
from surefoot.certify._interval import Interval, Rounding
from surefoot.certify._steps import Pulled, Step, boxed

aten = torch.ops.aten

Pair = tuple[int, int]


@dataclass(frozen=True)
class MaxPool(Step):
    """The largest entry of each window, over two dimensions.

    The gradient goes to the largest: to an entry whose lower bound exceeds all others' upper
    bounds for certain, to one whose upper bound is below another's lower bound never.

    Attributes:
        x: the argument, (N, C, H, W).
        kernel, stride, padding, dilation: of the windows, down and across.
        out: height and width of the result.
    """

    x: Bound
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    out: Pair

    def push(self, rounding: Rounding) -> Bound:  # noqa: ARG002 (comparing is exact)
        low, high = (self._windows(end).amax(2).view(self._shape) for end in self.x.interval)
        value = Interval(low, high)
        return Bound(value, None if self.x.form is None else boxed(value))

    def pull(self, g: Bound, symbols: Symbols, rounding: Rounding) -> Pulled:
        low, high = (self._windows(end) for end in self.x.interval)
        two = torch.cat([high, torch.full_like(high[:, :, :1], -torch.inf)], 2).topk(2, 2).values
        others = torch.where(high == two[:, :, :1], two[:, :, 1:], two[:, :, :1])
        chosen = Interval((low > others).to(low), (high >= low.amax(2, keepdim=True)).to(low))
        entries = self.kernel[0] * self.kernel[1]

        def to_each(v: Tensor) -> Tensor:
            return v.flatten(-2)[..., None, :].expand(*chosen.low.shape)

        each = times(through(g, to_each, to_each, 1, rounding), chosen, symbols, rounding)
        return [(self.x.name, through(each, self._put_back, self._put_back, entries, rounding))]

    @property
    def _shape(self) -> tuple[int, ...]:
        return (*self.x.shape[:2], *self.out)

    @property
    def _pads(self) -> list[int]:
        """What is added above, below, left and right, so that all windows are whole."""
        pads = []
        for i in (0, 1):
            reach = (self.out[i] - 1) * self.stride[i] + self.dilation[i] * (self.kernel[i] - 1) + 1
            pads += [self.padding[i], max(0, reach - self.x.shape[2 + i] - self.padding[i])]
        return pads

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, entries of a window, windows)."""
        above, below, left, right = self._pads
        padded = F.pad(x, (left, right, above, below), value=-torch.inf)
        unfolded = F.unfold(padded, self.kernel, self.dilation, 0, self.stride)
        unfolded = unfolded.view(*x.shape[:2], -1, unfolded.shape[-1])
        return unfolded[..., : self.out[0] * self.out[1]]

    def _put_back(self, windows: Tensor) -> Tensor:
        """The sum over windows at every entry, (N, C, H, W)."""
        above, below, left, right = self._pads
        height, width = self.x.shape[2:]
        size = (height + above + below, width + left + right)
        flat = windows.flatten(1, 2)
        summed = F.fold(flat, size, self.kernel, self.dilation, 0, self.stride)
        return summed[..., above : above + height, left : left + width]


def max_pool(
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Step | None:
    """The step of a maximum pooling, None where its argument has not four dimensions."""
    if len(x.shape) != 4:
        return None
    found = aten.max_pool2d_with_indices(
        x.interval.low, kernel, stride, padding, dilation, ceil_mode
    )[0]
    height, width = found.shape[2:]
    return MaxPool(
        x, _pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation), (height, width)
    )


def _pair(values: Sequence[int]) -> Pair:
    return values[0], values[-1]


def adaptive_max_pool(x: Any, out: Sequence[int]) -> Step | None:
    """The step of an adaptive maximum pooling, where its windows are all of one size."""
    sides = x.shape[2:]
    if len(x.shape) != 4 or any(side % o for side, o in zip(sides, out, strict=True)):
        return None
    return max_pool(x, [side // o for side, o in zip(sides, out, strict=True)])


POOLS: Mapping[str, Callable[..., Step | None]] = {
    "max_pool2d_with_indices": max_pool,
    "adaptive_max_pool2d": adaptive_max_pool,
}
