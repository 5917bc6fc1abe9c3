"""How an attack sees a map: its value at the iterates, and the way an objective of it rises."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from surefoot import draws, gradients
from surefoot.attack import _second_order as second
from surefoot.attack._smooth import smooth
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain import Decoy, Explainer
from surefoot.gradients import Query

# objective(maps (n, ...), which (n,)) -> (n,): what rises, of the maps of samples `which`
Objective = Callable[[Tensor, Tensor], Tensor]
Rise = Callable[[Objective], Tensor]

_SUBSETS = 2**32  # the first draw number of subsets of decoys, beyond those of random starts


@dataclass(frozen=True)
class Moment:
    """The samples still attacked, at one step.

    Attributes:
        request: the current iterates, (n, ...).
        which: (n,), their numbers in the batch.
        step: number of the step; random draws go by it.
        beta: of the smooth surrogate, None for the model as it is.
        difference: root mean square of the step of a finite difference, in input units.
        relative: whether beta counts in units of what enters each activation.
    """

    request: Query
    which: Tensor
    step: int
    beta: float | None
    difference: float
    relative: bool = False

    @property
    def curved(self) -> Query:
        """The request on the model that derivatives are taken of."""
        if self.beta is None:
            return self.request
        return replace(
            self.request, model=smooth(self.request.model, self.beta, relative=self.relative)
        )


class Look(NamedTuple):
    """What is seen of an explainer at one step.

    Attributes:
        maps: gives the maps (n, ...) on the original model.
        rise: gives the slope of an objective of maps by the inputs, (n, ...).
        logits: (n, K), where they are at hand.
    """

    maps: Callable[[], Tensor]
    rise: Rise
    logits: Tensor | None = None


@dataclass(frozen=True)
class View(ABC):
    """An explainer under attack."""

    explainer: Explainer

    def scored(self, step: int) -> bool:  # noqa: ARG002 (for views that do not score each step)
        """Whether the maps are looked at in this step."""
        return True

    @abstractmethod
    def look(self, moment: Moment) -> Look:
        """Maps and slopes, when asked."""


@dataclass(frozen=True)
class Exact(View):
    """Double backward through the explainer, in chunks of samples."""

    def look(self, moment: Moment) -> Look:
        request = moment.request

        def maps() -> Tensor:
            return self.explainer.attribute(replace(request, create_graph=False)).detach()

        def rise(objective: Objective) -> Tensor:
            return exact(
                lambda asked, _: self.explainer.attribute(asked),
                moment,
                objective,
                rows(self.explainer, request),
            )

        return Look(maps, rise)


@dataclass(frozen=True)
class Finite(View):
    """Differences of gradients; the maps that are scored serve the difference, too."""

    def look(self, moment: Moment) -> Look:
        request = moment.request
        parts = second.factors(self.explainer, request)

        def rise(objective: Objective) -> Tensor:
            v = slope_of(objective, parts.maps, moment.which)
            if moment.beta is None:
                return second.finite(self.explainer, request, parts, v, moment.difference)
            return second.finite_at_once(self.explainer, moment.curved, v, moment.difference)

        return Look(lambda: parts.maps, rise, parts.logits)


@dataclass(frozen=True)
class Adaptive(View):
    """A decoy map: max minus min with offsets held fixed, which are found anew now and then.

    Attributes:
        explainer: the Decoy.
        finite: whether by differences of gradients, else by double backward.
        refresh: steps between two searches for decoys; maps are scored in these and at the end.
        subset: decoys drawn for each step; None takes all.
        seed: of the draws.
        held: the current offsets of every sample, by its number.
    """

    explainer: Decoy
    finite: bool
    refresh: int
    subset: int | None
    seed: int
    held: dict[int, Tensor]

    def scored(self, step: int) -> bool:
        return step % self.refresh == 0

    def look(self, moment: Moment) -> Look:
        request, fresh = moment.request, False

        def search() -> None:
            nonlocal fresh
            if not fresh:
                self._search(moment)
            fresh = True

        def maps() -> Tensor:
            search()
            found = [self.held[int(i)] for i in moment.which]
            each = (
                self._over(replace(one, create_graph=False), offsets[None])
                for one, offsets in zip(singles(request), found, strict=True)
            )
            return torch.cat(list(each))

        def rise(objective: Objective) -> Tensor:
            if self.scored(moment.step) or any(int(i) not in self.held for i in moment.which):
                search()
            offsets = self._drawn(moment)
            find = self._finite if self.finite else self._exact
            return find(moment, offsets, objective)

        return Look(maps, rise)

    def _search(self, moment: Moment) -> None:
        request = moment.request
        for number, one in zip(moment.which, singles(request), strict=True):
            offsets = self.explainer.offsets(
                one.model, one.inputs.detach(), extra=one.extra, layout=one.layout
            )[0]
            if self.explainer.include_original:
                offsets = torch.cat([offsets, torch.zeros_like(offsets[:1])])
            self.held[int(number)] = offsets

    def _drawn(self, moment: Moment) -> Tensor:
        """This step's decoys of each sample, as offsets (n, S, ...)."""
        found = [self.held[int(i)] for i in moment.which]
        count = len(found[0])
        if self.subset is None or self.subset >= count:
            return torch.stack(found)
        order = draws.permutation(self.seed, _SUBSETS + moment.step, count)
        chosen = order[: self.subset].to(found[0].device)
        return torch.stack([offsets[chosen] for offsets in found])

    def _exact(self, moment: Moment, offsets: Tensor, objective: Objective) -> Tensor:
        order = {int(i): place for place, i in enumerate(moment.which)}

        def attribute(request: Query, which: Tensor) -> Tensor:
            places = [order[int(i)] for i in which]
            return self._over(replace(request, create_graph=True), offsets[places])

        return exact(attribute, moment, objective, 1)

    def _over(self, asked: Query, offsets: Tensor) -> Tensor:
        """The map over decoys at these offsets (n, S, ...)."""
        with gradients.numbered(asked.numbers, asked.count):
            return self.explainer.at_offsets(
                asked.model,
                asked.inputs,
                offsets,
                asked.target,
                extra=asked.extra,
                create_graph=asked.create_graph,
                layout=asked.layout,
            )

    def _finite(self, moment: Moment, offsets: Tensor, objective: Objective) -> Tensor:
        base = second.base_of(self.explainer)
        at = second.around(moment.curved, offsets)
        parts = second.factors(base, at)
        maps, slope = second.range_of(self.explainer, parts.maps.view_as(offsets))
        rises = slope_of(objective, maps, moment.which)[:, None]
        # One decoy has no range; the slope of a share of nothing is not finite.
        v = torch.where(slope == 0, 0, slope * rises)
        pulled = second.finite(base, at, parts, v.flatten(0, 1), moment.difference)
        return pulled.view_as(offsets).sum(1)


def exact(
    attribute: Callable[[Query, Tensor], Tensor],
    moment: Moment,
    objective: Objective,
    at_once: int,
) -> Tensor:
    """The gradient of an objective of maps by double backward, (n, ...), in chunks of samples."""
    request = moment.curved

    def compute(block: Block) -> Tensor:
        some, which = request.take(block.samples), moment.which[block.samples]

        def value(points: Tensor) -> Tensor:
            asked = replace(some, inputs=points, create_graph=True)
            maps = attribute(asked, which)
            if not maps.requires_grad:
                raise SurefootError(
                    "the explainer's map has no graph although it was asked for one, so it cannot "
                    "be attacked; use a built-in such as Gradient or IntegratedGradients, or "
                    "attack one of those and pass this one as score_with="
                )
            return objective(maps, which)

        return gradients.value_and_gradient(value, some.inputs, again=True)[1]

    parts = each_block(len(request.inputs), 1, at_once, compute)
    return gradients.sum_blocks(parts, request.inputs)


def slope_of(objective: Objective, maps: Tensor, which: Tensor) -> Tensor:
    """The gradient of an objective by the maps themselves, (n, ...)."""
    return gradients.value_and_gradient(lambda point: objective(point, which), maps)[1]


def singles(request: Query) -> list[Query]:
    """The request's samples one by one."""
    return [request.take(slice(i, i + 1)) for i in range(len(request.inputs))]


def rows(explainer: Explainer, request: Query) -> int:
    """Samples whose graphs are held at once, by how many inputs an explainer makes of each."""
    copies, layer = 1, cast(object, explainer)
    while layer is not None:
        copies *= getattr(layer, "steps", 1) * getattr(layer, "samples", 1)
        layer = getattr(layer, "base", None)
    return max(1, rows_per_batch(request.inputs, explainer.chunk) // copies)
