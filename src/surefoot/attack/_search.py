"""The search itself: projected ascent that remembers each sample's best label-keeping iterate."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.attack._views import Look, Moment, Objective, View
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootWarning
from surefoot.explain import Gradient
from surefoot.gradients import Query

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Goal:
    """What a search wants.

    Attributes:
        objective: what rises, of maps and sample numbers, (n,).
        damage: how far the goal is reached, (n,), of the same; iterates are chosen by it.
        push: a further slope by the inputs, of request and sample numbers, or None.
        enough: damage at which a sample is done.
    """

    objective: Objective
    damage: Objective
    push: Callable[[Query, Tensor], Tensor] | None = None
    enough: float = float("inf")


@dataclass(frozen=True)
class Search:
    """One attack on one batch inside one budget.

    Attributes:
        request: the clean inputs (N, ...), the model and the class explained.
        labels: (N,), the clean prediction, which is to be kept.
        view: the explainer under attack.
        goal: what is wanted.
        budget: where iterates may go.
        box: the same for these inputs.
        seed: of random starts.
        beta: of the surrogate, by the share of the steps done.
        difference: root mean square of the step of a finite difference; None goes by the budget.
        kick: whether the first step is random because the clean input is a stationary point.
        candidates: how many iterates are kept of each sample.
        known: what another search has found, to stand among the candidates.
        progress: called with the steps done and their number.
        relative: whether beta counts in units of what enters each activation.
        start: where the first run starts, (N, ...); None leaves it to the budget.
        share: of the budget's steps, and of the reach of differences, that are taken.
        only: (N,), which samples take part; None for all.
    """

    request: Query
    labels: Tensor
    view: View
    goal: Goal
    budget: Budget
    box: Box
    seed: int
    beta: Callable[[float], float | None]
    difference: float | None
    kick: bool
    candidates: int
    known: "Best | None"
    progress: Progress
    relative: bool = False
    start: Tensor | None = None
    share: float = 1.0
    only: Tensor | None = None

    def run(self) -> "Best":
        """All restarts; a sample that is done takes no part in later ones."""
        best = Best(self.request.inputs, self.candidates)
        self.run_into(best)
        return best

    def run_into(self, best: "Best") -> None:
        """The same, beside what other searches have found."""
        self.adopt(best)
        for restart in range(self.budget.restarts):
            self._ascend(restart, best)

    def adopt(self, best: "Best") -> None:
        """Score what is known already."""
        if self.known is None:
            return
        which = (self.known.damage[0] > -torch.inf).nonzero()[:, 0]
        if len(which):
            points = self.known.inputs[0]
            moment, look, kept = self._look(points, which, 0)
            best.note(which, moment.request.inputs, self.goal.damage(look.maps(), which), kept)

    def _ascend(self, restart: int, best: "Best") -> None:
        points, moved = self._start(restart)
        spare = Spare(points.clone(), torch.zeros(best.count, dtype=torch.bool, device="cpu"))
        trace = best.open_trace(self.budget.steps + 1)
        for step in range(self.budget.steps + 1):
            self.progress(restart * self.budget.steps + step, self.total)
            which = self._open(best)
            if not len(which):
                break
            last = step == self.budget.steps
            scored = moved and (last or self.view.scored(step))
            moment, look, kept = self._look(points, which, step)
            if moved and not scored:
                spare.keep(which[kept], points)
            elif scored and spare.revive(which[~kept], points):
                moment, look, kept = self._look(points, which, step)
            if scored:
                damage = self.goal.damage(look.maps(), which)
                trace[step, which] = damage.to(trace)
                best.note(which, moment.request.inputs, damage, kept)
            if not last:
                slope = self._slope(moment, look.rise, kept, first=not moved)
                box = self.box.take(which)
                points[which] = self.budget.climb(points[which], slope, step, box, self.share)
                moved = True

    def _open(self, best: "Best") -> Tensor:
        """Numbers of the samples that still take part."""
        which = best.open(self.goal.enough)
        return which if self.only is None else which[self.only[which]]

    @property
    def total(self) -> int:
        """Steps of all restarts."""
        return self.budget.restarts * self.budget.steps

    def _start(self, restart: int) -> tuple[Tensor, bool]:
        """Where a run starts, and whether that is off the clean input."""
        if self.start is not None and not restart:
            return self.start.clone(), True
        if restart or self.budget.random_start:
            return self.budget.random(self.seed, restart, self.box), True
        return self.request.inputs.clone(), self.budget.steps == 0

    def _moment(self, points: Tensor, which: Tensor, step: int) -> Moment:
        request = replace(self.request.take(which), inputs=points[which])
        share = step / max(1, self.budget.steps - 1)
        difference = self.difference or self.budget.reach(step, points[0].numel(), self.share)
        return Moment(request, which, step, self.beta(min(1.0, share)), difference, self.relative)

    def _look(self, points: Tensor, which: Tensor, step: int) -> tuple[Moment, Look, Tensor]:
        """The samples `which` at one step, what is seen of them, and who keeps the prediction."""
        moment = self._moment(points, which, step)
        look = self.view.look(moment)
        return moment, look, self._kept(moment, look.logits)

    def _kept(self, moment: Moment, logits: Tensor | None) -> Tensor:
        if logits is None:
            asked = moment.request
            logits = gradients.predict(asked.model, asked.inputs, asked.extra)
        return logits.argmax(1) == self.labels[moment.which]

    def _slope(
        self, moment: Moment, rise: Callable[[Objective], Tensor], kept: Tensor, *, first: bool
    ) -> Tensor:
        if first and self.kick:
            way = self.budget.signs(self.seed, 0, self.box) - self.box.centre
            return way[moment.which]
        slope = rise(self.goal.objective).nan_to_num(nan=0.0)
        if self.goal.push is not None:
            slope = slope + self.goal.push(moment.request, moment.which)
        if first and self.budget.radius and not slope.any():
            _warn_flat()
        return slope if kept.all() else self._back(moment, slope, ~kept)

    def _back(self, moment: Moment, slope: Tensor, lost: Tensor) -> Tensor:
        """The slope, but where the prediction is lost the way back to it."""
        where = lost.nonzero()[:, 0]
        asked = replace(moment.request, target=self.labels[moment.which]).take(where)
        slope[where] = Gradient("margin").attribute(asked)
        return slope


@dataclass
class Spare:
    """Label-keeping iterates that were not scored, in case the one that is to be lost its label.

    Attributes:
        inputs: (N, ...).
        held: (N,), whether there is one.
    """

    inputs: Tensor
    held: Tensor

    def keep(self, which: Tensor, points: Tensor) -> None:
        """Hold the points of these samples."""
        self.inputs[which] = points[which]
        self.held[which.cpu()] = True

    def revive(self, which: Tensor, points: Tensor) -> bool:
        """Put held iterates back among the points, once; whether there were any."""
        some = which[self.held[which.cpu()].to(which.device)]
        points[some] = self.inputs[some]
        self.held[:] = False
        return bool(len(some))


def _warn_flat() -> None:
    warnings.warn(
        "the attack's objective has no slope at the clean inputs, so the attack cannot start: the "
        "map does not change there, as that of a (piecewise) linear score; try another score, "
        'a surrogate (beta=10), second_order="finite" with a larger difference, or '
        "random_start=True in the budget",
        SurefootWarning,
        stacklevel=2,
    )


@dataclass
class Best:
    """Each sample's best iterates among those that keep its prediction.

    Attributes:
        clean: (N, ...).
        slots: C, how many are kept of each.
        inputs: (C, N, ...), in no order; the clean input where there is none.
        damage: (C, N), minus infinity where there is none.
        traces: the damage at every step of each run, (steps + 1, N), NaN where not looked at.
    """

    clean: Tensor
    slots: int = 1
    inputs: Tensor = field(init=False)
    damage: Tensor = field(init=False)
    traces: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inputs = self.clean.expand(self.slots, *self.clean.shape).clone()
        self.damage = gradients.single(self.clean.new_full((self.slots, self.count), -torch.inf))

    @property
    def count(self) -> int:
        """N."""
        return len(self.clean)

    def open(self, enough: float) -> Tensor:
        """Numbers of the samples that are not done."""
        return (self.damage.amax(0) < enough).nonzero()[:, 0]

    def open_trace(self, steps: int) -> Tensor:
        """The trace of a new run."""
        self.traces.append(self.damage.new_full((steps, self.count), torch.nan))
        return self.traces[-1]

    def note(self, which: Tensor, points: Tensor, damage: Tensor, kept: Tensor) -> None:
        """Remember the iterates that are better than those whose slots they would take."""
        damage, slot = damage.to(self.damage), self.slot(which)
        better = kept & (damage > self.damage[slot, which])
        where = slot[better], which[better]
        self.damage[where] = damage[better]
        self.inputs[where] = points[better]

    def slot(self, which: Tensor) -> Tensor:
        """The slots that a next iterate of samples `which` may take, (n,): the worst of each."""
        return self.damage[:, which].argmin(0)
