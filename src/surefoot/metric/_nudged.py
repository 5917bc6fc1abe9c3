"""Images nudged at random, and an explainer's maps of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.maps import Layout, check_map, norm, result_type, wide
from surefoot.metric._evaluate import Grid, grid
from surefoot.metric._noise import Noise, given_or_drawn
from surefoot.recipes import Recipe

Explain = Callable[..., Tensor]


class Moved(NamedTuple):
    """Some samples before and after some nudges; maps flattened, in double precision.

    Attributes:
        samples: which.
        step: the nudges (v, ...).
        here: the images, (n, 1, ...).
        there: the nudged ones, (n, v, ...).
        before: map of the image, (n, 1, d).
        after: maps of the nudged images, (n, v, d).
    """

    samples: slice
    step: Tensor
    here: Tensor
    there: Tensor
    before: Tensor
    after: Tensor

    @property
    def change(self) -> Tensor:
        """||E(x + d) - E(x)||_2, (n, v)."""
        return norm(self.after - self.before)


@dataclass(frozen=True, eq=False)
class Nudged:
    """What the metrics of random nudges are asked, checked.

    Attributes:
        explainer: whose maps are compared.
        grid: the request.
        noise: the nudges.
    """

    explainer: Explain
    grid: Grid
    noise: Noise

    def worst(self, value: Callable[[Moved], Tensor]) -> Tensor:
        """The largest `value`, (n, v), over the nudges, (N,)."""
        return self.over(value).amax(1).to(result_type(self.grid.images))

    def mean(self, value: Callable[[Moved], Tensor]) -> Tensor:
        """The mean `value`, (n, v), over the nudges, (N,)."""
        return self.over(value).mean(1).to(result_type(self.grid.images))

    def over(self, value: Callable[[Moved], Tensor]) -> Tensor:
        """`value`, (n, v), of all samples and nudges, (N, V)."""
        images = self.grid.images
        before = self.grid.over(1, lambda b: self._maps(b.samples, images[b.samples, None]))

        def compute(block: Block) -> Tensor:
            here, step = images[block.samples, None], self.noise.draw(block.variants)
            there = here + step
            after = self._maps(block.samples, there)
            return value(Moved(block.samples, step, here, there, before[block.samples], after))

        return self.grid.over(self.noise.count, compute)

    def _maps(self, samples: slice, points: Tensor) -> Tensor:
        """The maps of variants (n, v, ...) of some samples, each flattened, (n, v, d) double."""
        maps = maps_of(self.explainer, self.grid.request.take(samples).expand(points))
        return wide(maps).view(*points.shape[:2], -1)


def nudged(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.2,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Nudged:
    """The door of the metrics of random nudges."""
    asked = grid(model, images, target, extra, chunk, layout)
    return Nudged(explainer, asked, in_a_ball(images, radius, samples, seed, noise))


def in_a_ball(
    images: Tensor, radius: float, samples: int, seed: int, noise: Tensor | None
) -> Noise:
    """Nudges drawn uniformly with no entry above the radius, or those given."""
    if noise is None and not radius > 0:
        raise SurefootError(f"radius={radius}, expected more than 0")

    def uniform(some: slice) -> Tensor:
        return radius * (2 * draws.uniform(seed, some, images) - 1)

    return given_or_drawn(noise, images, samples, uniform)


def maps_of(explainer: Explain, request: Query) -> Tensor:
    """The explainer's maps of a request, (N, ...), checked and without a graph."""
    more: dict[str, Any] = {"extra": request.extra} if request.extra else {}
    if request.layout is not None and isinstance(explainer, Recipe):
        more["layout"] = request.layout
    _check_call(explainer, more)
    with gradients.numbered(request.numbers, request.count):
        maps = explainer(request.model, request.inputs, request.target, **more)
    if len(check_map(maps, "the explainer's result")) != len(request.inputs):
        raise SurefootError(
            f"the explainer gave {len(maps)} maps for {len(request.inputs)} inputs, "
            "expected one each"
        )
    return maps.detach()


def _check_call(explainer: object, more: Mapping[str, Any]) -> None:
    """Raise unless it can be called as explainers are."""
    wanted = "an explainer such as Gradient(), or a callable (model, inputs, target) -> maps"
    if not callable(explainer):
        raise SurefootError(f"{explainer!r} is no explainer; expected {wanted}")
    try:
        inspect.signature(explainer).bind(None, None, None, **more)
    except TypeError as error:
        raise SurefootError(f"{explainer!r} cannot be called: {error}; expected {wanted}") from None
    except ValueError:  # one without a signature, such as a builtin
        return
