"""A map's derivative against central differences."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surefoot import draws, gradients
from surefoot.copies import copied
from surefoot.errors import SurefootError
from surefoot.explain import Explainer
from surefoot.gradients import Query
from surefoot.testing._report import Check, limited

Maps = Callable[[bool], Tensor]

_NAME = "differentiability"
_DERIVATIVE = 1e-3
# A small step seldom crosses a kink of the model, a large one has less rounding error.
_STEPS = (1e-4, 1e-5, 1e-6, 1e-7)


def differentiability(explainer: Explainer, request: Query) -> Check:
    """Whether `create_graph` gives the derivative in inputs and parameters, or is refused."""
    copied = _in_double(explainer, request)
    if copied is None:
        return Check(_NAME, None, None, True, "not measured: the model does not run in float64")
    explainer, request = copied
    try:
        make, note = _maker(explainer, request)
        maps = make(True)
    except SurefootError as refusal:
        return Check(_NAME, None, None, True, f"refused: {str(refusal)[:60]}...")
    if not maps.requires_grad:
        return Check(_NAME, None, None, False, "create_graph=True gave a map without a graph")
    return limited(_NAME, _error(make, request, maps), _DERIVATIVE, note)


def _in_double(explainer: Explainer, request: Query) -> tuple[Explainer, Query] | None:
    # Copied together: a layer among the explainer's settings stays a layer of the model.
    model, explainer = copied((request.model, explainer), request.model)
    extra = {k: v.double() if v.is_floating_point() else v for k, v in request.extra.items()}
    inputs = request.inputs.to(torch.float64, copy=True).requires_grad_()
    try:
        gradients.predict(model.double(), inputs, extra)
    except (RuntimeError, TypeError):
        return None
    return explainer, Query(model, inputs, request.target, extra, layout=request.layout)


def _maker(explainer: Explainer, request: Query) -> tuple[Maps, str]:
    """The map as a function of whether a graph is wanted, and what its derivative is.

    A decoy map's derivative holds the decoys' offsets fixed, so they are found once.
    """
    note = "derivative in inputs and parameters, in float64"
    model, inputs, target = request.model, request.inputs, request.target
    told: Any = {"extra": request.extra, "layout": request.layout}
    if not hasattr(explainer, "at_offsets"):
        return (lambda graph: explainer(model, inputs, target, create_graph=graph, **told)), note
    held: Any = explainer
    offsets = held.offsets(model, inputs.detach(), **told)
    return (
        lambda graph: held.at_offsets(model, inputs, offsets, target, create_graph=graph, **told)
    ), f"{note}, offsets held fixed"


def _error(make: Maps, request: Query, maps: Tensor) -> float:
    """Relative error of the derivative of a random projection along a random direction."""
    places = [request.inputs, *(p for p in request.model.parameters() if p.requires_grad)]
    ways = [_noise(place, number) for number, place in enumerate(places)]
    weights = _noise(maps, len(places))
    slopes = torch.autograd.grad((maps * weights).sum(), places, allow_unused=True)
    along = sum(float((g * w).sum()) for g, w in zip(slopes, ways, strict=True) if g is not None)

    def projection(step: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(places, ways, alpha=step)
            value = float((make(False) * weights).sum())
            torch._foreach_add_(places, ways, alpha=-step)
        return value

    errors = []
    for step in _STEPS:
        measured = (projection(step) - projection(-step)) / (2 * step)
        size = max(abs(measured), abs(along), 1e-6 * float(maps.detach().abs().sum()))
        errors.append(abs(measured - along) / size if size > 0 else 0.0)
    return min(errors)


def _noise(like: Tensor, number: int) -> Tensor:
    return torch.randn(like.shape, generator=draws.generator(0, number), dtype=like.dtype).to(like)
