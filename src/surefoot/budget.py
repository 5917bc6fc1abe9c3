"""What an attack may spend: a norm ball around each input inside the box, steps and restarts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from surefoot import checks, draws
from surefoot.errors import SurefootError
from surefoot.recipes import Recipe

_LEAST = 1e-5  # of input units; below, a difference of float32 gradients is rounding


@dataclass(frozen=True, repr=False)
class Budget(Recipe, ABC):
    """A ball of radius epsilon around each input, cut with the box, and the effort inside it.

    Args:
        epsilon: radius in input units; a sequence of radii makes an attack return a list.
        steps: gradient steps of one run.
        step_size: length of a step in the budget's norm; None (this project's choice) starts at
            epsilon and lets it fall linearly, so that the last step is epsilon / steps.
        bounds: (low, high), numbers or tensors broadcastable to one input; attacks also take one
            row a sample, (N, ...).
        restarts: runs, of which each sample keeps its best; the first starts at the input, the
            others at random points of the ball.
        random_start: whether the first run, too, starts at a random point.
        mask: 1 where entries may change and 0 where not, broadcastable to the inputs; None lets
            all change. Of several inputs a tuple of one for each.

    >>> from surefoot.attack import Linf
    >>> budget = Linf(0.1, steps=10, bounds=(-1, 1))
    >>> isinstance(budget, Budget), budget.norm, budget.length(0), round(budget.length(9), 3)
    (True, 'linf', 0.1, 0.01)
    """

    norm: ClassVar[str]

    epsilon: float | Sequence[float]
    steps: int = field(default=100, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    bounds: checks.Bounds | Any = field(default=(0, 1), kw_only=True)  # of several inputs, each's
    restarts: int = field(default=1, kw_only=True)
    random_start: bool = field(default=False, kw_only=True)
    mask: Tensor | tuple[Tensor, ...] | None = field(default=None, kw_only=True)

    def each(self) -> list["Budget"]:
        """One budget for each epsilon."""
        radii = self.epsilon if isinstance(self.epsilon, Sequence) else [self.epsilon]
        return [replace(self, epsilon=radius) for radius in radii]

    def check(self) -> None:
        """Raise unless every number is in its range."""
        self.check_kinds(whole=False)
        numbers = {"epsilon": self.radius, "step_size": self.step_size or 0.0}
        for name, value in numbers.items():
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise SurefootError(f"{name}={value!r}, expected a finite number >= 0")
        checks.check_whole("steps", self.steps, 0)
        checks.check_whole("restarts", self.restarts, 1)

    @property
    def radius(self) -> float:
        """epsilon, once there is only one."""
        if isinstance(self.epsilon, Sequence):
            raise SurefootError(
                f"epsilon={self.epsilon!r} holds several radii, expected one here; an attack takes "
                "several, elsewhere use the budgets of .each()"
            )
        return self.epsilon

    def length(self, step: int) -> float:
        """The length of step number `step`, 0 the first."""
        if self.step_size is not None:
            return self.step_size
        return self.falling(step)

    def reach(self, step: int, entries: int, share: float = 1.0) -> float:
        """How far a finite difference looks at step number `step`: rms over an input's entries.

        The default length of that step. A model of ReLUs has curvature only across its kinks, so
        the difference must span what the steps to come can cross, and that shrinks.
        """
        return max(_LEAST, share * self.falling(step) * self.rms(entries))

    def falling(self, step: int) -> float:
        """From epsilon at step 0 to epsilon / steps at the last."""
        return self.radius * (1 - step / max(1, self.steps))

    def climb(
        self, points: Tensor, slope: Tensor, step: int, box: "Box", share: float = 1.0
    ) -> Tensor:
        """The points (n, ...) one step up the slope, or a share of it, back in ball and box."""
        return self.project(points + share * self.length(step) * self.unit(box.inside(slope)), box)

    @abstractmethod
    def rms(self, entries: int) -> float:
        """The largest root mean square of a vector of length 1 in the norm."""

    @abstractmethod
    def unit(self, slope: Tensor) -> Tensor:
        """The steepest direction of length 1 in the norm, (n, ...); 0 where the slope is 0."""

    @abstractmethod
    def project(self, points: Tensor, box: "Box") -> Tensor:
        """The nearest points (Euclidean) to `points` (n, ...) in both the ball and the box."""

    @abstractmethod
    def random(self, seed: int, draw: int, box: "Box") -> Tensor:
        """A random point, the same way off for all samples: of the cube, or of the sphere."""

    @abstractmethod
    def signs(self, seed: int, draw: int, box: "Box") -> Tensor:
        """Each entry moved by the same amount in a random direction to the ball's surface."""


@dataclass(frozen=True)
class Box:
    """Where samples may go: their centres (n, ...), and the bounds of one input or of each."""

    centre: Tensor
    low: Tensor
    high: Tensor

    def take(self, which: Tensor) -> "Box":
        """The same for some samples."""
        ends = (end[which] if end.ndim == self.centre.ndim else end for end in self.ends)
        return Box(self.centre[which], *ends)

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The two bounds."""
        return self.low, self.high

    def inside(self, way: Tensor) -> Tensor:
        """A way (n, ...) without the entries that cannot change."""
        return torch.where(self.low < self.high, way, 0)

    def clip(self, points: Tensor) -> Tensor:
        """Points inside the bounds."""
        return points.maximum(self.low).minimum(self.high)


@dataclass(frozen=True, repr=False)
class Linf(Budget):
    """|x' - x| <= epsilon in every entry, and the box; see `Budget` for the settings.

    >>> Linf(0.1, steps=10)
    Linf(0.1, steps=10)
    """

    norm: ClassVar[str] = "linf"

    def rms(self, entries: int) -> float:  # noqa: ARG002 (the norm's own is the same)
        return 1.0

    def unit(self, slope: Tensor) -> Tensor:
        return slope.sign()

    def project(self, points: Tensor, box: Box) -> Tensor:
        low, high = (self._side(box, torch.full_like(box.centre, one)) for one in (-1.0, 1.0))
        return points.to(box.centre).maximum(box.clip(low)).minimum(box.clip(high))

    def random(self, seed: int, draw: int, box: Box) -> Tensor:
        way = 2 * draws.uniform(seed, slice(draw, draw + 1), box.centre) - 1
        return self.project(box.centre + self.radius * way, box)

    def signs(self, seed: int, draw: int, box: Box) -> Tensor:
        return box.clip(self._side(box, _random_signs(seed, draw, box)))

    def _side(self, box: Box, signs: Tensor) -> Tensor:
        way = self.radius * signs.double()
        exact = box.centre.dtype == torch.float64  # but for one rounding, as anybody has it
        return box.centre + way if exact else _moved(box.centre, way)


@dataclass(frozen=True, repr=False)
class L2(Budget):
    """||x' - x||_2 <= epsilon over one whole input, and the box; see `Budget` for the settings.

    >>> L2(0.5, steps=10).epsilon
    0.5
    """

    norm: ClassVar[str] = "l2"

    def rms(self, entries: int) -> float:
        return 1 / math.sqrt(entries)

    def unit(self, slope: Tensor) -> Tensor:
        # Scaling by the largest entry first keeps tiny gradients from underflowing.
        flat = slope.flatten(1)
        flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        return torch.nn.functional.normalize(flat, dim=1).view_as(slope)

    def project(self, points: Tensor, box: Box) -> Tensor:
        centre = box.centre.double()
        way = (points.double() - centre).flatten(1)
        room = torch.where(points > box.centre, box.high - centre, centre - box.low)
        share = _share(way.abs(), room.flatten(1), self.radius)
        inside = _moved(box.centre, (share * way).view_as(points))
        kept = (share == 1).view(-1, *[1] * (points.ndim - 1))
        as_given = points.dtype == box.centre.dtype
        return box.clip(torch.where(kept, points, inside) if as_given else inside)

    def random(self, seed: int, draw: int, box: Box) -> Tensor:
        way = self.unit(box.inside(draws.normal(seed, slice(draw, draw + 1), box.centre)).double())
        return self.project(box.centre + self.radius * way, box)

    def signs(self, seed: int, draw: int, box: Box) -> Tensor:
        way = _random_signs(seed, draw, box).double()
        return self.project(box.centre + self.radius / math.sqrt(way[0].numel()) * way, box)


def _random_signs(seed: int, draw: int, box: Box) -> Tensor:
    up = draws.uniform(seed, slice(draw, draw + 1), box.centre) < 0.5
    return torch.where(up, 1.0, -1.0).to(box.centre)


def _moved(centre: Tensor, way: Tensor) -> Tensor:
    """The centre moved by `way` (n, ...) float64 or less: rounded towards the centre.

    So that what is inside a ball around the centre stays there: to the nearest, a sixth of a
    radius of 1/255 would be won or lost in bfloat16.
    """
    near = (centre.double() + way).to(centre.dtype)
    out = (near.double() - centre.double()).abs() > way.abs()
    return torch.where(out, _neighbour(near, centre), near)


def _neighbour(value: Tensor, centre: Tensor) -> Tensor:
    """The next number of the precision from `value` on the way to `centre`."""
    if value.dtype != torch.float16:
        return torch.nextafter(value, centre)
    bits = value.view(torch.int16)
    step = torch.where((value < centre) == (value > 0), 1, -1).to(bits)
    least = torch.where(centre > 0, 1, -0x7FFF).to(bits)  # from 0 to the smallest of its sign
    return torch.where(value == 0, least, bits + step).view(torch.float16)


def _share(way: Tensor, room: Tensor, radius: float) -> Tensor:
    """The largest share s in [0, 1] with ||min(s way, room)||_2 <= radius, (n, 1).

    The nearest point of ball and box to y is the ray x + s (y - x), clipped (by the conditions of
    Karush, Kuhn and Tucker). Along it the squared norm is quadratic between the places where
    entries meet the bounds; sorting those gives the piece that holds s, and s in closed form.
    """
    radius *= 1 - 2**-50  # what the rounding of all this may add
    way, room = way.double(), room.double()
    meets, order = torch.where(way > 0, room / way, torch.inf).sort(1)
    stops = torch.where(way > 0, room, 0).square().gather(1, order).cumsum(1)
    free = way.square().gather(1, order).flip(1).cumsum(1).flip(1)
    # Up to the i-th breakpoint i entries are stopped and the rest are free.
    stopped = torch.nn.functional.pad(stops, (1, 0))
    free = torch.nn.functional.pad(free, (0, 1))
    norms = stopped[:, :-1] + (meets.square() * free[:, :-1]).nan_to_num(nan=0.0)
    piece = (norms < radius**2).sum(1, keepdim=True)
    squared = (radius**2 - stopped.gather(1, piece)).clamp_min(0) / free.gather(1, piece)
    return squared.sqrt().nan_to_num(nan=1.0).clamp_max(1)
