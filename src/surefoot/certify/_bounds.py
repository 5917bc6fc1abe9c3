"""What is known of a tensor: an interval, and often a zonotope; sums, products, linear maps.

Zonotopes follow how numbers depend on common symbols, so that what cancels does (Singh et al.,
Fast and Effective Robustness Certification, 2018). Their number is kept small: what has no symbol
of its own goes into a box. The tighter of zonotope and interval counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.certify._interval import Interval, Rounding, product

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Form:
    """x = centre + sum over p of slopes[p] * e_p + box * e, every e anywhere in [-1, 1].

    Attributes:
        centre: (N, ...).
        slopes: (P, N, ...), one for each symbol.
        box: (N, ...).
    """

    centre: Tensor
    slopes: Tensor
    box: Tensor

    @property
    def interval(self) -> Interval:
        """Between which numbers it lies."""
        reach = self.slopes.abs().sum(0) + self.box
        return Interval(self.centre - reach, self.centre + reach)


@dataclass(frozen=True, eq=False)
class Bound:
    """What is known of one tensor.

    Attributes:
        interval: between which numbers it lies.
        form: the same as a zonotope; None where only the interval is known.
        name: of the tensor in the network's graph.
    """

    interval: Interval
    form: Form | None = None
    name: str = ""

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return self.interval.low.shape

    @property
    def device(self) -> torch.device:
        """Of the tensor."""
        return self.interval.low.device


@dataclass
class Symbols:
    """The symbols that gradients share, given out until there are no more.

    Attributes:
        limit: how many there may be.
        used: how many there are.
    """

    limit: int
    used: int = 0

    def take(self, wanted: int) -> tuple[int, int]:
        """The first of the new symbols, and how many they are."""
        first, number = self.used, min(wanted, self.limit - self.used)
        self.used += number
        return first, number


def through(x: Bound, apply: Map, size: Map, terms: int, rounding: Rounding) -> Bound:
    """A x, with `apply` for A, `size` for |A|, at most `terms` products in an entry."""
    middle, reach = apply(x.interval.centre), size(x.interval.radius)
    slack = rounding.slack(size(x.interval.size), terms)
    found = Interval(middle - reach, middle + reach).widened(slack)
    if x.form is None:
        return Bound(found)
    slack = slack + rounding.slack(size(x.form.interval.size), terms)
    centre = apply(x.form.centre)
    slopes = x.form.slopes
    # vmap over nothing loses the shape.
    moved = torch.func.vmap(apply)(slopes) if len(slopes) else centre.new_zeros(0, *centre.shape)
    form = Form(centre, moved, size(x.form.box) + slack)
    return Bound(found.meet(form.interval), form)


def plus(parts: Sequence[Bound], rounding: Rounding) -> Bound:
    """The sum; zonotopes share their symbols."""
    if len(parts) == 1:
        return parts[0]
    low, high = (_sum(list(ends)) for ends in zip(*(p.interval for p in parts), strict=True))
    sizes = _sum([p.interval.size for p in parts])
    found = Interval(low, high).widened(rounding.slack(sizes, len(parts)))
    forms = [p.form for p in parts if p.form is not None]
    if len(forms) < len(parts):
        return Bound(found)
    slack = rounding.slack(_sum([f.interval.size for f in forms]), len(parts))
    most = max(len(f.slopes) for f in forms)
    form = Form(
        _sum([f.centre for f in forms]),
        _sum([_padded(f.slopes, most) for f in forms]),
        _sum([f.box for f in forms]) + slack,
    )
    return Bound(found.meet(form.interval), form)


def exactly(value: Tensor, like: Bound) -> Bound:
    """A known tensor, with a zonotope if `like` has one."""
    slopes = value.new_zeros(0, *value.shape)
    form = None if like.form is None else Form(value, slopes, torch.zeros_like(value))
    return Bound(Interval(value, value), form)


def times(g: Bound, slope: Interval, symbols: Symbols, rounding: Rounding) -> Bound:
    """A gradient times a derivative, entry by entry; unsure derivatives take new symbols."""
    found = product(g.interval, slope, rounding)
    if g.form is None:
        return Bound(found)
    middle, unsure = slope.centre, slope.radius
    centre, reach = g.form.centre, g.form.slopes.abs().sum(0) + g.form.box
    sizes = slope.size * (centre.abs() + reach)
    fresh, rest = _fresh(unsure * centre, symbols, len(g.form.slopes))
    form = Form(
        middle * centre,
        torch.cat([middle * g.form.slopes, fresh]),
        middle.abs() * g.form.box + unsure * reach + rest + rounding.slack(sizes, 3),
    )
    return Bound(found.meet(form.interval), form)


def _fresh(spread: Tensor, symbols: Symbols, known: int) -> tuple[Tensor, Tensor]:
    """Symbols of their own for the largest of (N, ...), after `known`; the rest as a box."""
    sizes = spread.abs().flatten(1)
    first, number = symbols.take(int((sizes > 0).sum(1).max()))
    chosen = sizes.topk(number, dim=1).indices
    fresh = torch.zeros(number, *sizes.shape, dtype=sizes.dtype, device=sizes.device)
    fresh.scatter_(2, chosen.T[:, :, None], sizes.gather(1, chosen).T[:, :, None])
    rest = (sizes - fresh.sum(0)).view_as(spread)
    gap = spread.new_zeros(first - known, *spread.shape)
    return torch.cat([gap, fresh.view(number, *spread.shape)]), rest


def _padded(slopes: Tensor, most: int) -> Tensor:
    more = slopes.new_zeros(most - len(slopes), *slopes.shape[1:])
    return torch.cat([slopes, more])


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])
