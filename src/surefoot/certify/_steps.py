"""What one operation of a network does to bounds: forward to its value, backward to gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from surefoot.certify._bounds import Bound, Form, Symbols, exactly, plus, through, times
from surefoot.certify._interval import Interval, Rounding

Pulled = list[tuple[str, Bound]]


class Step(ABC):
    """One operation whose arguments are bounded."""

    @abstractmethod
    def push(self, rounding: Rounding) -> Bound:
        """Bounds of the result."""

    @abstractmethod
    def pull(self, g: Bound, symbols: Symbols, rounding: Rounding) -> Pulled:
        """What the gradient of the result, `g`, adds to those of the arguments."""


@dataclass(frozen=True)
class Linear:
    """A x for one bounded argument x.

    Attributes:
        argument: x.
        apply: x to A x.
        size: x to |A| x, entry by entry.
        terms: the most products that one entry of A x adds up.
        fan_out: the most entries of A x that one entry of x goes into.
    """

    argument: Bound
    apply: Callable[[Tensor], Tensor]
    size: Callable[[Tensor], Tensor]
    terms: int = 1
    fan_out: int = 1


@dataclass(frozen=True)
class Affine(Step):
    """A x + B y + ... + offset.

    Attributes:
        parts: the terms.
        offset: broadcasts to the result; None for 0.
        offset_size: what rounding counts in its place, where it is itself a sum.
    """

    parts: Sequence[Linear]
    offset: Tensor | None = None
    offset_size: Tensor | None = None

    def push(self, rounding: Rounding) -> Bound:
        moved = [through(p.argument, p.apply, p.size, p.terms, rounding) for p in self.parts]
        if self.offset is None:
            return plus(moved, rounding)
        known = exactly(self.offset.expand_as(moved[0].interval.low), moved[0])
        found = plus([*moved, known], rounding)
        if self.offset_size is None:
            return found
        slack = rounding.slack(self.offset_size, 4)
        form = found.form and replace(found.form, box=found.form.box + slack)
        return Bound(found.interval.widened(slack), form)

    def pull(self, g: Bound, symbols: Symbols, rounding: Rounding) -> Pulled:  # noqa: ARG002
        return [(part.argument.name, _pulled(part, g, rounding)) for part in self.parts]


def _pulled(part: Linear, g: Bound, rounding: Rounding) -> Bound:
    """A transposed, times g."""
    like = part.argument.interval.low
    back, back_size = (torch.func.vjp(way, like)[1] for way in (part.apply, part.size))
    return through(g, lambda v: back(v)[0], lambda v: back_size(v)[0], part.fan_out, rounding)


@dataclass(frozen=True)
class Pointwise(Step):
    """Entry by entry, with the derivative in each argument between bounds.

    Attributes:
        value: of the result.
        slopes: each argument and the interval of the result's derivative in it.
        chord: for one argument x, an interval c and a residual r with result = c x + r, c one
            number an entry; the zonotope goes on along it. None drops the zonotope.
    """

    value: Interval
    slopes: Sequence[tuple[Bound, Interval]]
    chord: tuple[Tensor, Interval] | None = None

    def push(self, rounding: Rounding) -> Bound:
        form = self.slopes[0][0].form
        if form is None or self.chord is None:
            return Bound(self.value, None if form is None else boxed(self.value))
        along, rest = self.chord
        sizes = along.abs() * form.interval.size + rest.size
        found = Form(
            along * form.centre + rest.centre,
            along * form.slopes,
            along.abs() * form.box + rest.radius + rounding.slack(sizes, 2),
        )
        return Bound(self.value.meet(found.interval), found)

    def pull(self, g: Bound, symbols: Symbols, rounding: Rounding) -> Pulled:
        return [
            (x.name, _fitted(times(g, slope, symbols, rounding), x.shape, rounding))
            for x, slope in self.slopes
        ]


def boxed(value: Interval) -> Form:
    """An interval as a zonotope that knows of no symbol."""
    nothing = value.low.new_zeros(0, *value.low.shape)
    return Form(value.centre, nothing, value.radius + value.size * 2**-50)


def _fitted(g: Bound, shape: torch.Size, rounding: Rounding) -> Bound:
    """Summed over what broadcasting from `shape` has repeated."""
    if g.shape == shape:
        return g
    terms = g.shape.numel() // max(1, shape.numel())

    def summed(v: Tensor) -> Tensor:
        return v.sum_to_size(shape)

    return through(g, summed, summed, terms, rounding)
