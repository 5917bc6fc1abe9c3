"""How well finite differences agree with double backward on one's own model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot import checks, gradients, metric
from surefoot.attack import _beta, _second_order as second
from surefoot.attack._beta import Beta
from surefoot.attack._objectives import shares
from surefoot.attack._scores import default_k
from surefoot.attack._views import Moment, exact, rows, slope_of
from surefoot.errors import SurefootError
from surefoot.explain import Decoy, Explainer, as_explainer, reduce
from surefoot.maps import Count, Layout, Reduction, count, top


@dataclass(frozen=True, repr=False)
class Agreement:
    """The slope of an attack's objective by differences beside that by double backward.

    Attributes:
        cosine: (N,), of the two slopes; 1 is best.
        sign: (N,), share of entries with the same sign, where the exact slope is not 0; 1 is best.
        finite: (N, ...), by differences.
        exact: (N, ...), by double backward.
        beta: of the surrogate both were taken on, None for the model itself.

    >>> same = torch.ones(1, 2)
    >>> Agreement(torch.ones(1), torch.ones(1), same, same, beta=None)
    Agreement(on the model itself: cosine 1.000000 (lowest 1.000000), same sign 100.00% (lowest \
100.00%))
    """

    cosine: Tensor
    sign: Tensor
    finite: Tensor
    exact: Tensor
    beta: float | None

    def __repr__(self) -> str:
        on = "the model itself" if self.beta is None else f"softplus beta={self.beta:g}"
        return (
            f"Agreement(on {on}: cosine {self.cosine.mean():.6f} (lowest {self.cosine.min():.6f}),"
            f" same sign {self.sign.mean():.2%} (lowest {self.sign.min():.2%}))"
        )


def check_second_order(
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target,
    explainer: Explainer,
    *,
    k: Count | None = None,
    reduction: Reduction = "sum_abs",
    beta: Beta = "auto",
    difference: float = 1e-5,
    extra: Mapping[str, Tensor] | None = None,
    layout: Layout | None = None,
) -> Agreement:
    """Compare the two ways to take the slope of TopK's objective at the inputs.

    Both are taken on the same surrogate, since a model of ReLUs has no second derivative to agree
    with; the difference is central. Its repr is the line to print.

    Args:
        model: module from inputs (N, ...) to logits, in evaluation mode.
        inputs: (N, ...).
        target: class explained, one or (N,), None for the prediction.
        explainer: one whose form finite differences know, but no Decoy (give its base).
        k: places of TopK's objective; None as in `AttributionAttack`.
        reduction: of the maps.
        beta: of the surrogate; a number, None for the model itself, or "auto": None where the
            model has no kinks.
        difference: root mean square of the step, in input units. The sharper the surrogate, the
            smaller it must be; far smaller ones drown in rounding.
        extra: further keyword inputs of the model.
        layout: what the axes of `inputs` mean, see `AttributionAttack`.

    Raises:
        SurefootError: an explainer that takes double backward in any case.

    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)).double().eval()
    >>> check_second_order(net, torch.rand(2, 20).double(), None, Gradient())
    Agreement(on softplus beta=30: cosine 1.000000 (lowest 1.000000), same sign 100.00% (lowest \
100.00%))
    """
    explainer = _with_a_form(explainer)
    with torch.inference_mode(False), torch.no_grad():
        request = gradients.query(model, inputs, target, extra, False, layout)
        layout = request.needed_layout()
        sharp = _beta.growth(_beta.resolve(beta, request))(0.0)
        everyone = torch.arange(len(inputs), device=inputs.device)
        moment = Moment(request, everyone, 0, sharp, difference)
        curved = moment.curved
        parts = second.factors(explainer, curved)
        clean = reduce(parts.maps, reduction, layout)
        size = clean[0].numel()
        inside = top(clean.flatten(1), count(default_k(size) if k is None else k, size))

        def objective(maps: Tensor, which: Tensor) -> Tensor:
            kept = shares(reduce(maps, reduction, layout)).flatten(1)
            return -(kept * inside[which]).sum(1)

        v = slope_of(objective, parts.maps, everyone)
        differ = second.finite(explainer, curved, parts, v, difference, central=True)
        true = exact(
            lambda asked, _: explainer.attribute(asked), moment, objective, rows(explainer, request)
        )
    return _compare(differ, true, sharp)


def _with_a_form(explainer: Explainer) -> Explainer:
    """The explainer, if finite differences know its form."""
    explainer = as_explainer(explainer)
    if isinstance(explainer, Decoy) or not second.has_finite(explainer):
        raise SurefootError(
            f"{explainer!r} is differentiated by double backward in any case; check Gradient, "
            "InputXGradient, IntegratedGradients or SmoothGrad(Gradient())"
        )
    return explainer


def _compare(differ: Tensor, true: Tensor, beta: float | None) -> Agreement:
    some = true.flatten(1) != 0
    same = (differ.flatten(1).sign() == true.flatten(1).sign()) & some
    share = same.sum(1) / some.sum(1).clamp_min(1)
    return Agreement(metric.cosine(differ, true), share.to(true), differ, true, beta)
