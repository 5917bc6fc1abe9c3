"""How the members of the ensemble run, one after the other, on what has been found so far."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from surefoot.attack import _beta, _second_order as second
from surefoot.attack._case import Case, SecondOrder
from surefoot.attack._ensemble_found import Found
from surefoot.attack._ensemble_members import Member, Stage, Start, Way, adapted, passes
from surefoot.attack._search import Best, Goal, Search
from surefoot.attack._views import View
from surefoot.budget import Box, Budget
from surefoot.explain import Decoy, Gradient
from surefoot.progress import Report

# About half of what the default attack on a decoy map costs lies outside its steps: the attack on
# the base map, and the decoys of its candidates.
_DECOYS_COST = 1.5
_MOVED_AT_ONCE = ("mass", "swap")  # objectives that have a slope at the clean input


@dataclass
class Trials:
    """The ways tried, and what samples have cost.

    Attributes:
        ways: in the order tried; the first is the default attack's.
        passes: of a step, by way.
        reached: by way, the damage that it found from the clean input, (N,).
        spent: in default attacks, (N,).
    """

    ways: list[Way] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    reached: list[Tensor] = field(default_factory=list)
    spent: Tensor | float = 0.0

    def add(self, way: Way, passes: int, reached: Tensor) -> None:
        """A way that was tried on all samples."""
        self.ways.append(way)
        self.passes.append(passes)
        self.reached.append(reached)
        self.spent = self.spent + torch.full_like(reached, passes / self.passes[0])

    def chosen(self, rank: int | None) -> Tensor:
        """Numbers of the ways that got furthest, or next to it, (N,); of equals the first.

        None gives the first way, the default attack's.
        """
        if rank is None:
            return torch.zeros_like(self.reached[0], dtype=torch.long)
        order = torch.stack(self.reached).argsort(dim=0, descending=True, stable=True)
        return order[min(rank, len(order) - 1)]

    def costs(self, chosen: Tensor) -> Tensor:
        """Of a search by the ways `chosen`, (N,)."""
        return torch.tensor(self.passes, device=chosen.device)[chosen] / self.passes[0]

    def able(self, chosen: Tensor, most: float) -> Tensor:
        """Whether a search leaves a sample below the most that it may cost, (N,)."""
        return self.spent + self.costs(chosen) <= most

    def spend(self, number: int, only: Tensor) -> None:
        """Count a search of some samples."""
        self.spent = self.spent + only * (self.passes[number] / self.passes[0])

    @property
    def spent_most(self) -> float:
        """By the sample that cost most."""
        return float(torch.as_tensor(self.spent).max())


@dataclass(frozen=True)
class Runs:
    """One batch under attack.

    Attributes:
        case: the batch.
        budget: of each search.
        box: the same for these inputs.
        goals: one for each of the metric's stand-ins.
        objectives: their names.
        best: what has been found; it grows.
        seed: of random starts.
        view: the explainer under attack, by the order of the derivative.
        difference: of finite differences, None goes by the budget.
    """

    case: Case
    budget: Budget
    box: Box
    goals: list[Goal]
    objectives: tuple[str, ...]
    best: Found
    seed: int
    view: Callable[[SecondOrder], View]
    difference: float | None

    def adopt(self, known: Best) -> None:
        """Score what the attack on a decoy map's base has found."""
        self.best.begin("from the attack on the base map")
        replace(self._search(Way(), 0, None), known=known).adopt(self.best)

    def all_of(self, stages: Sequence[Stage], progress: Report) -> None:
        """The stages, as long as a sample can get worse and may cost more.

        What is spent counts sample by sample, so that samples do not influence each other.
        """
        trials, draws = Trials(), itertools.count(1)
        more = _DECOYS_COST if isinstance(self.case.explainer, Decoy) else 1.0
        total = round(more * stages[-1].cost * self.budget.steps)
        for stage in stages:
            for way in self._suited(stage.ways):
                if way not in trials.ways:
                    self._try(way, trials)
                    progress(min(total, round(trials.spent_most * self.budget.steps)), total)
            for member in itertools.cycle(stage.members):
                chosen = trials.chosen(member.rank)
                able = trials.able(chosen, more * stage.cost)
                if not able[self.best.open(self.goals[0].enough)].any():
                    break
                self._member(member, trials, torch.where(able, chosen, -1), next(draws))
                progress(min(total, round(trials.spent_most * self.budget.steps)), total)

    def _try(self, way: Way, trials: "Trials") -> None:
        """A way, from the clean input on all samples."""
        self.best.begin(Member(way.first, "clean").name(way, self.objectives))
        self._search(way, way.first, None).run_into(self.best)
        trials.add(way, passes(way, finite=self.finite), self.best.reached[-1])

    def _member(self, member: Member, trials: "Trials", chosen: Tensor, draw: int) -> None:
        """One member on the samples that a way was chosen for, each with its own."""
        start = self._start(member.start, draw)
        for number, way in enumerate(trials.ways):
            only = chosen == number
            if only.any():
                self.best.begin(member.name(way, self.objectives))
                search = self._search(way, member.objective, start)
                replace(search, share=member.share, only=only).run_into(self.best)
                trials.spend(number, only)

    @property
    def finite(self) -> bool:
        """Whether finite differences know the explainer."""
        return second.has_finite(self.case.explainer)

    def _suited(self, ways: tuple[Way, ...]) -> list[Way]:
        kinks = _beta.has_kinks(self.case.request.model, self.case.request)
        explainer = self.case.explainer
        suits = partial(
            adapted,
            kinks=kinks,
            finite=self.finite,
            decoy=isinstance(explainer, Decoy),
        )
        return list(map(suits, ways))

    def _search(self, way: Way, rises: int, start: Tensor | None) -> Search:
        return Search(
            request=self.case.request,
            labels=self.case.labels,
            view=self.view("exact" if way.order == "exact" else "auto"),
            goal=self.goals[rises],
            budget=self.budget,
            box=self.box,
            seed=self.seed,
            beta=_beta.growth(way.sharpness),
            difference=self.difference,
            kick=start is None and self.objectives[rises] not in _MOVED_AT_ONCE,
            candidates=self.best.slots,
            known=None,
            progress=lambda _done, _total: None,
            relative=way.relative,
            start=start,
        )

    def _start(self, start: Start, draw: int) -> Tensor | None:
        if start == "best":
            return self.best.points
        if start == "random":
            return self.budget.random(self.seed, draw, self.box)
        if start == "normal":
            asked = replace(self.case.request, target=self.case.labels, create_graph=False)
            normal = self.budget.unit(Gradient("margin").attribute(asked))
            moved = self.case.request.inputs + self.budget.radius * normal
            return self.budget.project(moved, self.box)
        return None
