"""The derivative of a map: how an objective of an explainer's map changes with the inputs.

Most gradient maps are E(x) = m(x) * G(x) with G a weighted mean of input gradients, whose Jacobian
H is symmetric. For an objective D with v = dD/dE the chain rule then gives
dD/dx = H (m * v) + m' * v * G, and H u is a difference of G along u: two first-order passes in
place of a double backward, with no need of a second derivative in the model.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.chunking import Block
from surefoot.explain import (
    Decoy,
    Explainer,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    as_explainer,
)
from surefoot.gradients import Query
from surefoot.paths import quadrature_rule


class Parts(NamedTuple):
    """A map E = multiplier * mean, as its factors.

    Attributes:
        mean: G(x), the mean gradient, (n, ...).
        multiplier: m(x), (n, ...), whose derivative is 1; None where it is the number 1.
        logits: at x, (n, K), where the map's own passes give them.
    """

    mean: Tensor
    multiplier: Tensor | None
    logits: Tensor | None = None

    @property
    def maps(self) -> Tensor:
        """The map itself."""
        return self.mean if self.multiplier is None else self.multiplier * self.mean


def has_finite(explainer: Explainer) -> bool:
    """Whether finite differences know the explainer's form."""
    if isinstance(explainer, Decoy):
        return isinstance(explainer.base, Explainer) and _is_product(explainer.base)
    return _is_product(explainer)


def _is_product(explainer: Explainer) -> bool:
    if type(explainer) is SmoothGrad:
        return type(explainer.base) is Gradient and explainer.statistic == "mean"
    return type(explainer) in (Gradient, InputXGradient, IntegratedGradients)


def factors(explainer: Explainer, request: Query) -> Parts:
    """The map of a request, without a graph, as its factors."""
    request = replace(request, create_graph=False)
    multiplier = multiplier_of(explainer, request)
    if type(explainer) is Gradient or type(explainer) is InputXGradient:
        score, chunk = explainer.score, explainer.chunk
        mean, logits = gradients.gradient_and_logits(request, score, chunk)
        return Parts(mean, multiplier, logits)
    return Parts(mean_gradient(explainer, request, request), multiplier)


def multiplier_of(explainer: Explainer, request: Query) -> Tensor | None:
    """What the mean gradient is multiplied by, (n, ...); None where it is the number 1."""
    if type(explainer) is InputXGradient:
        return request.inputs
    if type(explainer) is IntegratedGradients and explainer.multiply_by_inputs:
        return request.inputs - request.start(explainer.baseline)
    return None


def mean_gradient(explainer: Explainer, request: Query, origin: Query) -> Tensor:
    """G at the request's inputs, (n, ...); a path starts where it does for `origin`."""
    if isinstance(explainer, InputXGradient):
        return Gradient(explainer.score, chunk=explainer.chunk).attribute(request)
    if not isinstance(explainer, IntegratedGradients):
        return explainer.attribute(request)
    alphas, weights = quadrature_rule(explainer.quadrature, explainer.steps)
    alphas = alphas.to(request.inputs).view(-1, *[1] * (request.inputs.ndim - 1))
    start = origin.start(explainer.baseline)

    def path(block: Block) -> Tensor:
        there, here = request.inputs[block.samples, None], start[block.samples, None]
        return torch.lerp(here, there, alphas[block.variants])

    return gradients.mean_gradient(request, explainer.score, path, weights, explainer.chunk)


def finite(
    explainer: Explainer,
    request: Query,
    parts: Parts,
    v: Tensor,
    difference: float,
    *,
    central: bool = False,
) -> Tensor:
    """(dE/dx)' v by a difference of gradients, (n, ...).

    Args:
        explainer: one that `has_finite`, but no Decoy.
        request: where, on the model whose curvature counts.
        parts: its factors there, on the same model.
        v: dD/dE, (n, ...).
        difference: root mean square of the step along v, in input units.
        central: two gradients instead of one: an error of second order in the step.
    """
    way, scale = _way(v, parts.multiplier, difference)
    ahead = _moved(explainer, request, way)
    behind = _moved(explainer, request, -way) if central else parts.mean
    product = (ahead - behind) / (2 if central else 1) * scale
    return product if parts.multiplier is None else product + v * parts.mean


def finite_at_once(explainer: Explainer, request: Query, v: Tensor, difference: float) -> Tensor:
    """The same where the factors are not at hand: both gradients in one batch, which is quicker."""
    multiplier = multiplier_of(explainer, request)
    way, scale = _way(v, multiplier, difference)
    here = request.inputs
    points = request.expand(torch.stack([here, here + way], 1))
    origin = request.expand(torch.stack([here, here], 1))
    found = mean_gradient(explainer, replace(points, create_graph=False), origin)
    mean, ahead = found.view(len(here), 2, *here.shape[1:]).unbind(1)
    product = (ahead - mean) * scale
    return product if multiplier is None else product + v * mean


def _way(v: Tensor, multiplier: Tensor | None, difference: float) -> tuple[Tensor, Tensor]:
    """The step along m * v, of that root mean square, and what a difference is multiplied by."""
    u = v if multiplier is None else v * multiplier
    # In units of its largest entry: squares of tiny gradients underflow.
    size = _each(u.flatten(1).abs().amax(1), u).clamp_min(torch.finfo(u.dtype).tiny)
    u = u / size
    root = _each(u.flatten(1).square().mean(1).sqrt(), u).clamp_min(torch.finfo(u.dtype).tiny)
    return u * (difference / root), size * root / difference


def _moved(explainer: Explainer, request: Query, way: Tensor) -> Tensor:
    there = replace(request, inputs=request.inputs + way, create_graph=False)
    return mean_gradient(explainer, there, request)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(n,) as (n, 1, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def range_of(explainer: Decoy, maps: Tensor) -> tuple[Tensor, Tensor]:
    """A decoy map (n, ...) from its decoys' maps (n, S, ...), and its derivative by each of them.

    The derivative is +1 at the decoy that gives the maximum of a place, -1 at the minimum's, and
    shared by decoys that tie, as autograd has it.
    """
    if explainer.aggregate == "mean":
        return maps.mean(1), torch.full_like(maps, 1 / maps.shape[1])
    high, low = maps.amax(1, keepdim=True), maps.amin(1, keepdim=True)
    return (high - low)[:, 0], _evenly(maps == high) - _evenly(maps == low)


def _evenly(chosen: Tensor) -> Tensor:
    """Equal shares for the chosen of (n, S, ...), that add up to 1 over S."""
    return chosen / chosen.sum(1, keepdim=True)


def around(request: Query, offsets: Tensor) -> Query:
    """The request for `inputs + offsets` (n, S, ...), flattened to n * S rows."""
    return request.expand(request.inputs[:, None] + offsets)


def base_of(explainer: Explainer) -> Explainer:
    """The explainer that a decoy map (or another wrapper) enhances, else itself."""
    return as_explainer(getattr(explainer, "base", explainer))
