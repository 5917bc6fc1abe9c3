"""The two sides that a map's robustness lies between: what is proved, and what attacks find."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.attack import AttackResult, AttributionAttack, Ensemble, RandomSign, TopK
from surefoot.budget import Budget
from surefoot.certify._exact import Exact
from surefoot.certify._map_bounds import refuse_unknown
from surefoot.errors import SurefootError
from surefoot.explain import Explainer, as_explainer
from surefoot.maps import Count, Layout, Reduction
from surefoot.recipes import Family, Recipe

_SCORE = "topk_intersection"
_STEPS_IN_A_RADIUS = 10  # RAR's steps of 0.01 for an epsilon of 0.1


@dataclass(frozen=True, repr=False)
class Sides:
    """The share of a map's top k that stays, by who says so.

    Attributes:
        explainer: whose maps.
        budget: the ball.
        floor: (N,), what no input in the ball can get below; NaN where nothing is proved.
        ensemble: (N,), what the strongest attack leaves: the ceiling.
        published: (N,), what RAR's released protocol leaves with as many steps; NaN where it
            cannot be run.
        random: (N,), what random signs leave, on average over draws.
        target: (N,), the explained class.
        reasons: why there is no floor, or no published loop.

    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> one = torch.ones(2)
    >>> found = Sides(Gradient(), Linf(0.1), 0.2 * one, 0.4 * one, 0.5 * one, 0.9 * one, one.long())
    >>> {name: round(value, 3) for name, value in found.means().items()}
    {'floor': 0.2, 'ensemble': 0.4, 'published': 0.5, 'random': 0.9}
    """

    explainer: Explainer
    budget: Budget
    floor: Tensor
    ensemble: Tensor
    published: Tensor
    random: Tensor
    target: Tensor
    reasons: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    def means(self) -> dict[str, float]:
        """Over the samples, by name; from the floor up."""
        names = ("floor", "ensemble", "published", "random")
        return {name: float(getattr(self, name).double().mean()) for name in names}

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value:.3f}" for name, value in self.means().items())
        return f"Sides({self.explainer!r}, {self.budget!r}: {said})"


def sides(
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target,
    explainer: Explainer,
    budget: Budget,
    *,
    k: Count = 0.05,
    effort: Literal["quick", "standard", "thorough"] = "standard",
    draws: int = 5,
    reduction: Reduction = "sum_abs",
    seed: int = 0,
    extra: Mapping[str, Tensor] | None = None,
    layout: Layout | None = None,
) -> Sides:
    """Prove what stays of the top k within a budget, and attack it, beside random signs.

    The floor is `Exact`'s, of L-infinity balls of the budget's radius (an L2 ball lies inside);
    the ceiling is that of `attack.Ensemble`. The published loop is RAR's (arXiv 1905.09957):
    double backward through softplus 1, steps of a tenth of the radius from a random point, and
    the iterate of least Kendall correlation.

    Args:
        model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
        inputs: floating point (N, ...), inside the budget's bounds.
        target: class explained, one or (N,); None takes the prediction.
        explainer: any.
        budget: one radius, with the steps of each search.
        k: number of places, or their share if a float below 1.
        effort: of the ensemble.
        draws: of random signs.
        reduction: of the maps.
        seed: of all draws.
        extra: further keyword inputs of the model.
        layout: what the axes of `inputs` mean.

    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval()
    >>> both = sides(net, torch.rand(4, 6).double(), None, Gradient(), Linf(0.05, steps=3), k=2)
    >>> bool((both.floor <= both.ensemble).all()), bool((both.ensemble <= both.random).all())
    (True, True)
    """
    explainer = as_explainer(explainer)
    with torch.no_grad():
        target = gradients.query(model, inputs, target, extra, False, layout).target
    words: dict[str, Any] = {"extra": extra, "layout": layout}
    shared: dict[str, Any] = {"k": k, "reduction": reduction}

    def left(attack: AttributionAttack) -> Tensor:
        found: AttackResult = attack(model, inputs, target, explainer, **words)
        reduced = attack.reduced(found.before, found.layout)
        return _of_places(found.scores[_SCORE], attack.entries(reduced))

    def proved() -> Tensor:
        exact = Exact(explainer, budget.radius, bounds=budget.bounds, **shared)
        found = exact(model, inputs, target, **words)
        return _of_places(found.overlap, found.k)

    floor = _tried(proved, len(inputs))
    published = _tried(lambda: left(_protocol(budget, seed=seed, **shared)), len(inputs))
    ensemble = left(Ensemble(budget, effort=effort, seed=seed, **shared))
    once = replace(budget, restarts=1)
    signs = [left(RandomSign(once, seed=seed + draw, **shared)) for draw in range(draws)]
    random = torch.stack(signs).mean(0)
    reasons = tuple(reason for _, reason in (floor, published) if reason)
    return Sides(explainer, budget, floor[0], ensemble, published[0], random, target, reasons)


def _protocol(budget: Budget, **settings: Any) -> TopK:
    """RAR's, with the budget's number of steps."""
    step = budget.radius / _STEPS_IN_A_RADIUS
    slow = replace(budget, restarts=1, step_size=step, random_start=True)
    return TopK(slow, beta=1.0, second_order="exact", keep="kendall", **settings)


def _of_places(share: Tensor, k: int) -> Tensor:
    """The share as a number of k places, so that 2 of 3 are the same whoever counts."""
    return (share.double() * k).round() / k


def _tried(run: Callable[[], Tensor], count: int) -> tuple[Tensor, str]:
    """What it gives, (N,), or NaN and why it gives nothing."""
    try:
        return run(), ""
    except SurefootError as error:
        return torch.full((count,), torch.nan, dtype=torch.float64), str(error)


@dataclass(frozen=True, repr=False)
class Floor(Recipe):
    """The certified floor as a metric of an explainer, for audits: `floor(explainer, model, x, y)`.

    It is `Exact`'s overlap: the share of the top k that no change within the radius takes away. In
    `surefoot.audit(metrics={"floor": Floor(1 / 255, k=100)})` it is measured once, beside what
    each attack leaves; explainers without exact bounds have NaN.

    Args:
        radius: of the L-infinity ball, in input units.
        k: number of places, or their share if a float below 1.
        reduction: of the maps.
        bounds: of the inputs.

    >>> from surefoot.explain import Gradient
    >>> net = nn.Linear(6, 2).eval()
    >>> Floor(0.1, k=2)(Gradient(), net, torch.rand(2, 6), torch.tensor([0, 1]))
    tensor([1., 1.], dtype=torch.float64)
    """

    radius: float
    k: Count = 0.05
    reduction: Reduction = field(default="sum_abs", kw_only=True)
    bounds: checks.Bounds = field(default=(0, 1), kw_only=True)

    def __call__(
        self, explainer: Explainer, model: nn.Module, images: Tensor, target: Tensor
    ) -> Tensor:
        """The floor of each sample, (N,); NaN for an explainer without exact bounds."""
        try:
            refuse_unknown(explainer)
        except SurefootError:
            return torch.full((len(images),), torch.nan, dtype=torch.float64)
        made = Exact(explainer, self.radius, self.k, reduction=self.reduction, bounds=self.bounds)
        return made(model, images, target).overlap


FLOORS: Family[Floor] = Family("floor", (Floor,), "Floor(1/2550, k=100)")
