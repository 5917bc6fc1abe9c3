"""Exact bounds of the maps that are made of input gradients."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.attack import explained
from surefoot.certify._gradient_bounds import Method, ball, check_radius, gradient_over, outwards
from surefoot.certify._interval import Interval, Rounding, product
from surefoot.errors import SurefootError
from surefoot.explain import (
    Explainer,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    as_explainer,
)
from surefoot.gradients import Query, Score
from surefoot.paths import quadrature_rule


def map_bounds(
    explainer: Explainer,
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target = None,
    *,
    radius: float,
    bounds: checks.Bounds = (0, 1),
    method: Method = "auto",
    extra: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Between which numbers each entry of a map lies, everywhere in an L-infinity ball.

    For Gradient, InputXGradient, IntegratedGradients from a baseline that does not depend on the
    input, and SmoothGrad (mean) of those, whose draws are fixed by its seed: each gradient that
    they average is bounded over where its point can be. See `gradient_bounds` for the promise,
    the arguments and the cost, which is that of one bound times the gradients that are averaged.

    Returns:
        low and high, each (N, ...), of the attributions, not reduced.

    Raises:
        SurefootError: another explainer; what `gradient_bounds` raises.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval()
    >>> inputs, explainer = torch.rand(1, 4).double(), IntegratedGradients(steps=4)
    >>> low, high = map_bounds(explainer, net, inputs, 0, radius=0.01)
    >>> near = explainer(net, (inputs + 0.01).clamp(0, 1), 0)
    >>> bool(((low <= near) & (near <= high)).all())
    True
    """
    request = gradients.query(model, inputs, target, extra, create_graph=False)
    checks.check_bounds(request.inputs, bounds)
    check_radius(radius)
    if radius == 0:
        refuse_unknown(explainer)
        maps = explained(explainer, request)
        return maps, maps.clone()
    found = map_over(explainer, request, ball(request.inputs, radius, bounds), method)
    low, high = outwards(found, request.inputs)
    return low, high


def map_over(explainer: Explainer, request: Query, around: Interval, method: Method) -> Interval:
    """Bounds of a map anywhere in `around`, a box for each input, (N, ...), float64."""
    refuse_unknown(explainer)
    with torch.no_grad():
        if isinstance(explainer, SmoothGrad):
            return _smoothed(explainer, request, around, method)
        if isinstance(explainer, IntegratedGradients):
            return _integrated(explainer, request, around, method)
        score: Score = getattr(explainer, "score")  # noqa: B009 (known to have one)
        found = gradient_over(request, around, score, method)
        if type(explainer) is Gradient:
            return found
        return product(around, found, Rounding.of(request.inputs.dtype))


def refuse_unknown(explainer: Explainer) -> None:
    """Raise unless the explainer's map is bounded here."""
    if type(explainer) is SmoothGrad and explainer.statistic == "mean":
        refuse_unknown(as_explainer(explainer.base))
    elif type(explainer) is IntegratedGradients:
        if callable(explainer.baseline) or isinstance(explainer.baseline, str):
            raise SurefootError(
                f"the baseline of {explainer!r} depends on the input, and bounds are known for "
                "fixed ones alone; give a number or a tensor"
            )
    elif type(explainer) not in (Gradient, InputXGradient):
        raise SurefootError(
            f"{explainer!r} has no exact bounds; known are Gradient, InputXGradient, "
            "IntegratedGradients and SmoothGrad (mean) of those. certify.Smoothed takes any"
        )


def _integrated(
    explainer: IntegratedGradients, request: Query, around: Interval, method: Method
) -> Interval:
    rounding = Rounding.of(request.inputs.dtype)
    alphas, weights = quadrature_rule(explainer.quadrature, explainer.steps)
    start = request.start(explainer.baseline).double()
    way = Interval(around.low - start, around.high - start)
    slack = rounding.slack(start.abs() + around.size, 2)
    low, high = (torch.zeros_like(around.low) for _ in range(2))
    sizes = torch.zeros_like(low)
    for alpha, weight in zip(alphas.tolist(), weights.tolist(), strict=True):
        there = Interval(start + alpha * way.low, start + alpha * way.high).widened(slack)
        found = gradient_over(request, there, explainer.score, method)
        one, other = weight * found.low, weight * found.high
        low, high = low + one.minimum(other), high + one.maximum(other)
        sizes = sizes + abs(weight) * found.size
    mean = Interval(low, high).widened(rounding.slack(sizes, len(weights)))
    return product(way.widened(slack), mean, rounding)


def _smoothed(explainer: SmoothGrad, request: Query, around: Interval, method: Method) -> Interval:
    rounding = Rounding.of(request.inputs.dtype)
    base = as_explainer(explainer.base)
    low, high = (torch.zeros_like(around.low) for _ in range(2))
    sizes = torch.zeros_like(low)
    for draw in range(explainer.samples):
        noise = explainer.std * draws.normal(explainer.seed, slice(draw, draw + 1), request.inputs)
        moved = replace(request, inputs=request.inputs + noise)
        there = Interval(*(end + noise.double() for end in around))
        there = there.widened(rounding.slack(there.size + noise.abs().double(), 1))
        found = map_over(base, moved, there, method)
        low, high, sizes = low + found.low, high + found.high, sizes + found.size
    count = explainer.samples
    return Interval(low / count, high / count).widened(rounding.slack(sizes / count, count))
