"""What is attacked and what is scored, with all that stays the same for every budget."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.attack import _second_order as second
from surefoot.attack._search import Best
from surefoot.attack._views import Adaptive, Exact, Finite, View
from surefoot.errors import SurefootError
from surefoot.explain import Decoy, Explainer, as_explainer
from surefoot.gradients import Query
from surefoot.maps import Parts
from surefoot.recipes import freeze

SecondOrder = Literal["auto", "exact", "finite"]
Damage = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A batch, what is attacked and what is scored.

    Attributes:
        request: the clean inputs (N, ...), the attacked model and the class explained.
        explainer: the attacked one.
        labels: (N,), the attacked model's clean prediction.
        maps: (N, ...), the attacked explainer's clean maps.
        scorer: the explainer scored.
        judge_model: the model scored.
        before: (N, ...), the scored clean maps.
    """

    request: Query
    explainer: Explainer
    labels: Tensor
    maps: Tensor
    scorer: Explainer
    judge_model: nn.Module
    before: Tensor

    @classmethod
    def of(
        cls,
        request: Query,
        explainer: Explainer,
        score_with: Explainer | None,
        score_model: nn.Module | None,
    ) -> "Case":
        """Resolve what was not given, and explain the clean inputs."""
        scorer = fresh(explainer) if score_with is None else as_explainer(score_with)
        judge = request.model if score_model is None else score_model
        checks.check_model(judge)
        maps = explained(explainer, request)
        same = scorer == explainer and judge is request.model
        before = maps if same else explained(scorer, replace(request, model=judge))
        labels = gradients.predict(request.model, request.inputs, request.extra).argmax(1)
        return cls(request, explainer, labels, maps, scorer, judge, before)

    @cached_property
    def on_base(self) -> "Case":
        """The same with the explainer that a decoy map enhances; explained once for all budgets."""
        base = second.base_of(self.explainer)
        return replace(self, explainer=base, maps=explained(base, self.request))

    def judge(self, best: Best, damage: Damage) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, scored maps and whether the prediction is kept; what failed is as it was.

        Of several candidates each sample takes the one that does most damage to the scored map.
        """
        inputs, after = self.request.inputs, self.before
        kept, most = torch.zeros_like(self.labels, dtype=torch.bool), best.damage[0]
        for points, known in zip(best.inputs, best.damage, strict=True):
            ok, maps = self._judged(points, known > -torch.inf)
            done = known if best.slots == 1 else damage(maps).to(most)
            better = ok & (~kept | (done > most))
            inputs, after = _where(better, points, inputs), _where(better, maps, after)
            kept, most = kept | better, torch.where(better, done, most)
        return inputs, after, kept

    def _judged(self, points: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Whether found points (N, ...) keep the scored model's prediction, and their maps."""
        model, extra, clean = self.judge_model, self.request.extra, self.request.inputs
        was, now = (gradients.predict(model, x, extra).argmax(1) for x in (clean, points))
        kept = found & (was == now)
        asked = replace(self.request, model=model, inputs=_where(kept, points, clean))
        return kept, explained(self.scorer, asked)


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Sample by sample."""
    return torch.where(condition.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def explained(explainer: Explainer, request: Query) -> Tensor:
    """The map of a request, checked, without a graph."""
    return explainer(
        request.model,
        request.inputs,
        request.target,
        extra=request.extra,
        create_graph=False,
        layout=request.layout,
    )


def fresh(explainer: Explainer) -> Explainer:
    """The explainer whose maps are scored: a decoy map with another seed, else itself."""
    return (
        replace(explainer, seed=explainer.seed + 1) if isinstance(explainer, Decoy) else explainer
    )


_NO_CLASSES = (gradients.has_one_output, gradients.are_independent)


def check_classes(request: Query, *explainers: object) -> None:
    """Raise where there is no predicted class to keep, or decoys would move several inputs."""
    model = request.model
    if any(told(model) for told in (gradients.is_flat, *_NO_CLASSES)):
        raise SurefootError(
            "an attack on maps keeps the predicted class, and this model's outputs are no classes "
            'that exclude each other; write surefoot.models.Classifier(model, output="binary") for '
            'one logit, output="segmentation", or for one label of several output=lambda found: '
            "surefoot.models.binary(found[:, 3])"
        )
    decoys = [one for one in map(_decoys_in, explainers) if one is not None]
    if decoys and isinstance(request.layout, Parts):
        raise SurefootError(
            f"{decoys[0]!r} cannot be attacked through several inputs together; move one of "
            "them and pass the others as extra={name: tensor}"
        )


def _decoys_in(explainer: object) -> Decoy | None:
    """The decoy map that an explainer is, or wraps."""
    while explainer is not None and not isinstance(explainer, Decoy):
        explainer = getattr(explainer, "base", None)
    return explainer


def check_decoys(explainer: object, bounds: checks.Bounds) -> None:
    """Raise where a decoy map, also one that is wrapped, lives in another box than the attack."""
    while explainer is not None:
        if isinstance(explainer, Decoy) and not _same(explainer.bounds, bounds):
            raise SurefootError(
                f"the decoys of {explainer!r} live in bounds={explainer.bounds} and the attack in "
                f"bounds={bounds}; give both the same bounds"
            )
        explainer = getattr(explainer, "base", None)


def _same(a: checks.Bounds, b: checks.Bounds) -> bool:
    return all(freeze(x) == freeze(y) for x, y in zip(a, b, strict=True))


def view_of(
    case: Case,
    second_order: SecondOrder,
    refresh: int,
    subset: int | None,
    seed: int,
) -> View:
    """How the attack sees the explainer."""
    if second_order not in get_args(SecondOrder):
        raise SurefootError(f"second_order={second_order!r}, choose one of {get_args(SecondOrder)}")
    if refresh < 1 or (subset is not None and subset < 1):
        raise SurefootError(
            f"refresh={refresh}, subset={subset}: expected refresh >= 1 and subset >= 1 or None"
        )
    finite = second_order != "exact" and second.has_finite(case.explainer)
    if isinstance(case.explainer, Decoy):
        return Adaptive(case.explainer, finite, refresh, subset, seed, {})
    return Finite(case.explainer) if finite else Exact(case.explainer)
