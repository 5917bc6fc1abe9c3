"""The strongest attack: many searches, of which each sample keeps the worst, and no parameters."""

import warnings
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
from torch import Tensor

from surefoot import metric
from surefoot.attack import _ensemble_checks as checks
from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._case import Case, view_of
from surefoot.attack._ensemble_found import Found
from surefoot.attack._ensemble_members import PLANS, Effort, cost
from surefoot.attack._ensemble_objectives import counts, objective, stand_ins
from surefoot.attack._ensemble_query import RandomPatches
from surefoot.attack._ensemble_runs import Runs
from surefoot.attack._result import AttackResult
from surefoot.attack._search import Best, Goal
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootError, SurefootWarning, suggest
from surefoot.explain import Decoy
from surefoot.maps import Count, average, top
from surefoot.progress import reporter

_PATCHES = "random patches"
_GAP = "between kept and lost"
_NOTHING = "no change"
_BASE = "attack on the base map"
_HALVINGS = 6
_CANDIDATES = 2  # kept of each sample: one may lose its prediction in another batch
_OF_DECOYS = 16  # members, one each: fresh decoys choose among them


@dataclass(frozen=True, repr=False)
class Ensemble(AttributionAttack):
    """The strongest attack: no member is stronger, and there is nothing to tune.

    Searches that differ in what rises, in the surrogate, in the start and in how far their steps
    reach, one after the other: the default `TopK` and nine restarts of it are among them, and the
    later ones go on from the best that was found. Each sample keeps
    the iterate that the metric itself, on the true model, finds worst among those that keep the
    prediction; samples whose map cannot get worse leave. Where a map has no derivative, random
    patches are tried instead. It checks itself and warns: a map without a gradient, chance in the
    explainer, constant maps, a second derivative that is cut off, an adaptive attack
    that finds no more than the transferred one.

    Each search takes the budget's steps, with lengths of its own (`step_size`, `restarts` and
    `random_start` of the budget, and the inherited settings of derivatives, are ignored). Measured
    in docs/attacks.md.

    Args:
        budget: an `Linf` or `L2`, or several.
        k: places of the top-k intersection, or their share if a float below 1.
        by: the metric of two maps that is attacked: "topk_intersection", "kendall", "spearman",
            "cosine", "mass_centre_shift", or any other of `metric.names("a", "b")`.
        effort: what a sample may cost in default attacks: "quick" (4), "standard" (20) or
            "thorough" (40).

    >>> from torch import nn
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)).eval()
    >>> x = torch.rand(4, 20)
    >>> r = Ensemble(Linf(0.3, steps=5), k=5)(net, x, None, Gradient())
    >>> bool(r.label_kept.all()), bool(r.scores["topk_intersection"].mean() < 0.5), r.member.shape
    (True, True, torch.Size([4]))
    >>> r.members[0], r.member.shape
    ('mass, softplus 30, absolute, from clean', torch.Size([4]))
    """

    k: Count | None = field(default=1000, kw_only=True)
    by: str = field(default="topk_intersection", kw_only=True)
    effort: Effort = field(default="standard", kw_only=True)

    @property
    def score_name(self) -> str:
        return self.by

    @property
    def _sign(self) -> int:
        return -1 if self._metric.higher_is_better else 1

    @property
    def _metric(self) -> metric.Metric:
        known = metric.names("a", "b")
        if self.by not in known:
            raise SurefootError(
                f"by={self.by!r} is no metric of two maps; {suggest(self.by, known)}"
            )
        return metric.get(self.by)

    def hold(self, reduced: Tensor) -> Held:
        self._check()
        flat = reduced.flatten(1)
        return {
            "clean": reduced,
            "inside": top(flat, self.entries(reduced)).view_as(reduced),
            "ranks": average(flat).view_as(reduced),
        }

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return objective(stand_ins(self.by, held["clean"])[0])(reduced, held)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        found = self._metric
        if counts(self.by):
            return found(held["clean"], reduced, k=self.entries(reduced))
        return found(held["clean"], reduced)

    def _check(self) -> None:
        if self.effort not in get_args(Effort):
            raise SurefootError(f"effort={self.effort!r}, choose one of {get_args(Effort)}")
        self._metric  # noqa: B018 (raises where there is none)

    def explore(self, case: Case, budget: Budget, box: Box, held: Held) -> Found:
        """Each sample's best iterate of all members."""
        self._check()
        fixed = checks.check_maps(case, held["clean"])
        decoys = isinstance(case.explainer, Decoy)
        slots = _OF_DECOYS if decoys else _CANDIDATES
        best = Found(case.request.inputs, slots, apart=decoys)
        if budget.radius == 0:
            best.begin(_NOTHING)
            best.note(*self._nothing(case))
        elif checks.has_slope(case):
            if fixed:
                checks.check_slope(case, self.entries(held["clean"]), self.reduction)
            self._searches(case, budget, box, held, best)
        else:
            self._patches(case, budget, box, held, best)
        return best

    def _nothing(self, case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The clean inputs as what was found: no budget allows more."""
        everyone = torch.arange(len(case.labels), device=case.labels.device)
        kept = torch.ones_like(case.labels, dtype=torch.bool)
        return everyone, case.request.inputs, torch.zeros(len(everyone)).to(case.maps), kept

    def _searches(self, case: Case, budget: Budget, box: Box, held: Held, best: Found) -> None:
        runs = Runs(
            case=case,
            budget=replace(budget, restarts=1, random_start=False, step_size=None),
            box=box,
            goals=[self._goal(case, held, name) for name in stand_ins(self.by, held["clean"])],
            objectives=stand_ins(self.by, held["clean"]),
            best=best,
            seed=self.seed,
            view=lambda order: view_of(case, order, self.refresh, self.subset, self.seed),
            difference=self._difference(case),
        )
        with reporter(self.progress, type(self).__name__) as progress, warnings.catch_warnings():
            # What one member cannot do another may; check_slope has looked.
            warnings.filterwarnings("ignore", "the attack's objective", SurefootWarning)
            known = self._on_base(case, budget, box)
            if known is not None:
                runs.adopt(known)
            transferred = best.most
            runs.all_of(PLANS[self.effort], progress)
        best.begin(_GAP)
        checks.gaps(case, runs.goals[0].damage, best, _HALVINGS)
        if known is not None:
            checks.check_decoys(best, transferred, runs.goals[0].enough)

    def _goal(self, case: Case, held: Held, name: str) -> Goal:
        layout, rises = case.request.layout, objective(name)
        plain = self.goal(case, held)

        def climbs(maps: Tensor, which: Tensor) -> Tensor:
            some = {key: value[which] for key, value in held.items()}
            return rises(self.reduced(maps, layout), some)

        low, high = self._metric.range
        return replace(plain, objective=climbs, enough=-low if self._sign < 0 else high)

    def _patches(self, case: Case, budget: Budget, box: Box, held: Held, best: Found) -> None:
        best.begin(_PATCHES)
        goal = self._goal(case, held, stand_ins(self.by, held["clean"])[0])
        RandomPatches(
            request=case.request,
            explainer=case.explainer,
            labels=case.labels,
            damage=goal.damage,
            budget=budget,
            box=box,
            seed=self.seed,
            queries=round(3 * cost(self.effort) * budget.steps),
            enough=goal.enough,
        ).run_into(best)

    def _on_base(self, case: Case, budget: Budget, box: Box) -> Best | None:
        quick = replace(self, effort="quick")
        return super(Ensemble, quick)._on_base(case, budget, box)

    def _result(self, case: Case, best: Best) -> AttackResult:
        found = super()._result(case, best)
        if not isinstance(best, Found):
            return found
        member = best.member_of(found.inputs, found.label_kept)
        return replace(found, member=member, members=tuple(best.names))
