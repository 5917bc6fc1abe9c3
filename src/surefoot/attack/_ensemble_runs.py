"""How the members of the ensemble run, one after the other, on what has been found so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from surefoot.attack import _beta, _second_order as second
from surefoot.attack._case import Case, SecondOrder
from surefoot.attack._ensemble_found import Found
from surefoot.attack._ensemble_members import Member, Stage, Start, Way, adapted
from surefoot.attack._search import Best, Goal, Search
from surefoot.attack._views import View
from surefoot.budget import Box, Budget
from surefoot.explain import Decoy, Gradient
from surefoot.progress import Report

_MOVED_AT_ONCE = ("mass", "swap")  # objectives that have a slope at the clean input


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
        """Every search of the stages, as long as some sample can get worse."""
        each, total = self.budget.steps, self.budget.steps * sum(map(len, stages))
        first = Member(start="clean")
        ways: list[Way] = []
        tried: list[Tensor] = []
        done = 0
        for stage in stages:
            for way in self._suited(stage.ways):
                if way in ways:
                    continue
                self.best.begin(first.name(way, self.objectives))
                search = self._search(way, 0, None)
                counted = partial(_counted, progress, done, total)
                replace(search, progress=counted).run_into(self.best)
                ways.append(way)
                tried.append(self.best.reached[-1])
                done += each
            # Of each sample, the ways from the one that got furthest; of equals the first.
            order = torch.stack(tried).argsort(dim=0, descending=True, stable=True)
            for member in stage.members:
                if not len(self.best.open(self.goals[0].enough)):
                    return
                progress(done, total)
                chosen = order[min(member.rank, len(ways) - 1)]
                self._member(member, ways, chosen, done // each)
                done += each

    def _member(self, member: Member, ways: list[Way], chosen: Tensor, draw: int) -> None:
        """One member on all samples, each with the way chosen for it."""
        start = self._start(member.start, draw)
        for number, way in enumerate(ways):
            only = chosen == number
            if only.any():
                self.best.begin(member.name(way, self.objectives))
                search = self._search(way, member.objective, start)
                replace(search, share=member.share, only=only).run_into(self.best)

    def _suited(self, ways: tuple[Way, ...]) -> list[Way]:
        kinks = _beta.has_kinks(self.case.request.model, self.case.request)
        explainer = self.case.explainer
        suits = partial(
            adapted,
            kinks=kinks,
            finite=second.has_finite(explainer),
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
            relative=True,
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


def _counted(progress: Report, before: int, total: int, done: int, _of: int) -> None:
    """Steps of one search as steps of all."""
    progress(before + done, total)
