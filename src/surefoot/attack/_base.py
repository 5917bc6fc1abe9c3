"""What every attack on attributions is: a recipe called as `attack(model, inputs, target, e)`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.attack import _beta
from surefoot.attack._beta import Beta
from surefoot.attack._case import Case, SecondOrder, check_classes, check_decoys, view_of
from surefoot.attack._result import AttackResult
from surefoot.attack._room import box_of
from surefoot.attack._scores import default_k, similarities
from surefoot.attack._search import Best, Goal, Search
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootError
from surefoot.explain import Decoy, Explainer, as_explainer, reduce
from surefoot.gradients import Inputs
from surefoot.maps import AnyLayout, Count, Reduction, count
from surefoot.progress import Progress, reporter
from surefoot.recipes import Recipe

Held = Mapping[str, Tensor]

_DECOY_DIFFERENCE = 1e-4


@dataclass(frozen=True, repr=False)
class AttributionAttack(Recipe, ABC):
    """An attack on explanations: `attack(model, inputs, target, explainer) -> AttackResult`.

    It moves inputs inside the budget so that the explainer's map changes and the model's
    prediction does not, and returns each sample's best iterate, by the attack's own score on the
    original model, among those that keep the prediction. Samples do not influence each other.
    Where an iterate has lost the prediction, the next step goes back to it (up the margin of the
    clean class; this project's choice).

    A decoy map is attacked adaptively: the gradient passes through max minus min over the decoys
    with their offsets held fixed, and the decoys are searched anew at the current iterate every
    `refresh` steps; only those iterates and the last one are scored. What the same attack finds on
    the base map stands as a candidate, so that attacking the decoy map is never the weaker way.

    Args:
        budget: an `Linf` or `L2`; several, or several epsilons in one, give a list of results.
        k: entries counted by the top-k intersection, or their share if a float below 1; None
            takes 1000, or a tenth of a map with fewer than 10000 entries.
        reduction: of the maps, for the objective and the scores alike; see `explain.reduce`.
        seed: of random starts and of the draws of decoys.
        restarts: runs; None takes the budget's.
        candidates: best iterates kept of each sample, of which the one is taken that changes the
            scored map (`score_with`, or fresh decoys) most.
        stop_at: the attack's own score at which a sample has changed enough and leaves the batch;
            None lets all steps run.
        second_order: how the derivative of a map is taken: "exact" (double backward), "finite"
            (a difference of gradients; explainers whose form it does not know take "exact"), or
            "auto" (the default): "finite" where it can.
        beta: of the softplus that stands in for ReLU and its relatives while derivatives are
            taken (see `smooth`); a pair grows geometrically over the steps; None takes the model
            as it is, which with "finite" saves a third or more of the time and is weaker on small
            networks and on decoy maps; "auto" is 30 on a model with kinks, else None. Scores are
            always taken on the model itself.
        difference: root mean square of the step of a finite difference, in input units; None
            goes by the budget: from epsilon down to epsilon / steps (for L2 divided by the root
            of the number of entries). For a decoy map it is 1e-4 unless `beta` is None: the slope
            of a range is what is left of slopes that nearly cancel, and a wide step buries it.
        refresh: steps between two searches for decoys.
        subset: decoys drawn for each step; None takes all.
        trace: whether the result holds the attack's own score after each step.
        progress: True for a bar, or a callable that gets the steps done and their number.

    >>> from surefoot.attack import Linf, MassCenter, TopK
    >>> issubclass(TopK, AttributionAttack), issubclass(MassCenter, AttributionAttack)
    (True, True)
    >>> TopK(Linf(0.1), k=0.02, restarts=3)
    TopK(Linf(0.1), k=0.02, restarts=3)
    """

    lower_is_damage: ClassVar[bool] = True
    stationary: ClassVar[bool] = False
    own_score: ClassVar[str] = ""

    budget: Budget | Sequence[Budget]
    k: Count | None = field(default=None, kw_only=True)
    reduction: Reduction = field(default="sum_abs", kw_only=True)
    seed: int = field(default=0, kw_only=True)
    restarts: int | None = field(default=None, kw_only=True)
    candidates: int = field(default=1, kw_only=True)
    stop_at: float | None = field(default=None, kw_only=True)
    second_order: SecondOrder = field(default="auto", kw_only=True)
    beta: Beta = field(default="auto", kw_only=True)
    difference: float | None = field(default=None, kw_only=True)
    refresh: int = field(default=10, kw_only=True)
    subset: int | None = field(default=8, kw_only=True)
    trace: bool = field(default=False, kw_only=True, repr=False, compare=False)
    progress: Progress = field(default=False, kw_only=True, repr=False, compare=False)

    def __call__(
        self,
        model: nn.Module,
        inputs: Inputs,
        target: checks.Target,
        explainer: Explainer,
        *,
        extra: Mapping[str, Any] | None = None,
        score_with: Explainer | None = None,
        score_model: nn.Module | None = None,
        layout: Any = None,
    ) -> Any:
        """Attack the explanations of a batch.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point (N, ...), inside the budget's bounds; or a tuple of several
                inputs, which are moved together: a ball is over all their entries, and each end
                of the bounds is a number or one for each input.
            target: class explained, one or (N,); None takes the prediction for the clean inputs.
                It is held throughout.
            explainer: what is attacked: any differentiable explainer.
            extra: further arguments of the model by name: tensors with leading dimension N, and
                anything that is no tensor.
            score_with: the explainer whose maps are compared, if another one (transfer); None
                takes the attacked one, a decoy map with the next seed.
            score_model: the model whose maps and predictions are compared, if another one.
            layout: what the axes of `inputs` mean, where three axes leave it open and the model
                does not say, see `surefoot.models.Classifier`.

        Returns:
            An `AttackResult`, or a list of them where several budgets or epsilons were given.

        Raises:
            SurefootError: inputs outside the bounds, k larger than the map, a region of the wrong
                shape, an explainer that cannot be differentiated, decoys with other bounds.
        """
        self.check_kinds()
        with torch.inference_mode(False), torch.no_grad():
            request = gradients.query(model, inputs, target, extra, False, layout, several=True)
            request = replace(request, layout=request.axes())
            check_classes(request, explainer, score_with)
            explainer = as_explainer(explainer)
            budgets = self._budgets()
            for budget in budgets:
                budget.check()
                box_of(request, budget)
                check_decoys(explainer, budget.bounds)
                check_decoys(score_with, budget.bounds)
            case = Case.of(request, explainer, score_with, score_model)
            results = [replace(self, budget=budget)._run(case, budget) for budget in budgets]
        several = not isinstance(self.budget, Budget) or isinstance(self.budget.epsilon, Sequence)
        return results if several else results[0]

    @abstractmethod
    def hold(self, reduced: Tensor) -> Held:
        """What objective and score compare with, each (N, ...), from the clean reduced maps."""

    @abstractmethod
    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        """What is maximised, (n,), of reduced maps (n, ...); differentiable."""

    @abstractmethod
    def score(self, reduced: Tensor, held: Held) -> Tensor:
        """What iterates are chosen by, (n,); `lower_is_damage` says which way."""

    @property
    def score_name(self) -> str:
        """The name of the attack's own score."""
        return self.own_score

    def push(self, case: Case) -> Any:  # noqa: ARG002 (for attacks with a term of their own)
        """A further slope by the inputs, of request and sample numbers; None for none."""
        return None

    def entries(self, reduced: Tensor) -> int:
        """K as a number of entries of one reduced map."""
        size = reduced[0].numel()
        return count(default_k(size) if self.k is None else self.k, size)

    def _budgets(self) -> list[Budget]:
        given = list(self.budget) if isinstance(self.budget, Sequence) else [self.budget]
        if not given or not all(isinstance(one, Budget) for one in given):
            raise SurefootError(
                f"budget={self.budget!r}, expected attack.Linf(epsilon), attack.L2(epsilon) or a "
                "sequence of them"
            )
        each = [one for several in given for one in several.each()]
        if self.restarts is not None:
            each = [replace(one, restarts=self.restarts) for one in each]
        return each

    def _run(self, case: Case, budget: Budget) -> AttackResult:
        box = box_of(case.request, budget)
        clean = self.reduced(case.maps, case.request.layout)
        self.entries(clean)
        best = self.explore(case, budget, box, self.hold(clean))
        return self._result(case, best)

    def explore(self, case: Case, budget: Budget, box: Box, held: Held) -> Best:
        """Each sample's best iterate."""
        view = view_of(case, self.second_order, self.refresh, self.subset, self.seed)
        if self.difference is not None and not self.difference > 0:
            raise SurefootError(f"difference={self.difference}, expected a positive number or None")
        if self.candidates < 1:
            raise SurefootError(f"candidates={self.candidates}, expected at least 1")
        beta = _beta.resolve(self.beta, case.request)
        with reporter(self.progress, type(self).__name__) as progress:
            return Search(
                request=case.request,
                labels=case.labels,
                view=view,
                goal=self.goal(case, held),
                budget=budget,
                box=box,
                seed=self.seed,
                beta=_beta.growth(beta),
                difference=self._difference(case),
                kick=self.stationary,
                candidates=self.candidates,
                known=self._on_base(case, budget, box),
                progress=progress,
            ).run()

    def _on_base(self, case: Case, budget: Budget, box: Box) -> Best | None:
        """The best iterates of the same attack on the map that a decoy map enhances."""
        if not isinstance(case.explainer, Decoy):
            return None
        plain = case.on_base
        alone = replace(self, candidates=1, stop_at=None, progress=False)
        return alone.explore(
            plain, budget, box, self.hold(self.reduced(plain.maps, case.request.layout))
        )

    def _difference(self, case: Case) -> float | None:
        if self.difference is None and isinstance(case.explainer, Decoy) and self.beta is not None:
            return _DECOY_DIFFERENCE
        return self.difference

    def goal(self, case: Case, held: Held) -> Goal:
        """The objective and the damage as functions of unreduced maps and sample numbers."""
        layout = case.request.layout

        def some(which: Tensor) -> Held:
            return {name: value[which] for name, value in held.items()}

        def objective(maps: Tensor, which: Tensor) -> Tensor:
            return self.objective(self.reduced(maps, layout), some(which))

        def damage(maps: Tensor, which: Tensor) -> Tensor:
            return self._sign * self.score(self.reduced(maps, layout), some(which))

        enough = float("inf") if self.stop_at is None else self._sign * self.stop_at
        return Goal(objective, damage, self.push(case), enough)

    @property
    def _sign(self) -> int:
        return -1 if self.lower_is_damage else 1

    def reduced(self, maps: Tensor, layout: AnyLayout | None = None) -> Tensor:
        """One number a place."""
        return reduce(maps, self.reduction, layout)

    def _result(self, case: Case, best: Best) -> AttackResult:
        layout, returned = case.request.layout, case.request.returned
        before_reduced = self.reduced(case.before, layout)
        held = self.hold(before_reduced)
        inputs, after, kept = case.judge(
            best, lambda maps: self._sign * self.score(self.reduced(maps, layout), held)
        )
        after_reduced = self.reduced(after, layout)
        scores = similarities(before_reduced, after_reduced, self.entries(before_reduced))
        own = self.score(after_reduced, held)
        return AttackResult(
            attack=self,
            explainer=case.scorer,
            originals=returned(case.request.inputs),
            inputs=returned(inputs),
            before=returned(case.before),
            after=returned(after),
            label_kept=kept,
            scores={self.score_name: own} | scores,
            target=case.request.target,
            trace=self._sign * torch.stack(best.traces) if self.trace else None,
            layout=layout,
        )
