"""Whether a gradient can be differentiated again: is anything missing from its graph?

An operation that is marked `once_differentiable`, or whose own backward pass leaves the graph,
cuts the second derivative. What reaches the inputs on other ways hides the cut: autograd then
gives a derivative that lacks a part, or zero, and says nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from surefoot import draws
from surefoot.copies import copied
from surefoot.errors import SurefootError
from surefoot.gradients._query import Query

Differentiate = Callable[[Query], tuple[Tensor, Tensor]]

_MARKED = "torch::autograd::Error"  # what once_differentiable leaves in the graph
_STEP, _TOLERANCE, _ROUNDING = 1e-7, 1e-3, 1e-6
_SOUND: "WeakSet[Any]" = WeakSet()
_REMEDY = (
    'attack with second_order="finite" (Gradient, InputXGradient, IntegratedGradients and '
    "SmoothGrad(Gradient()) can), or write its backward pass with differentiable operations"
)


def missing(
    values: Tensor, gradient: Tensor, request: Query, differentiate: Differentiate
) -> str | None:
    """What the graph of a gradient lacks, as a sentence, or None.

    Args:
        values: the scores that were differentiated, with their graph.
        gradient: theirs, with its graph.
        request: of one batch.
        differentiate: gives (inputs, gradient with its graph) of a request, to check functions
            of someone's own against central differences in double precision, once each.
    """
    own = {type(node) for node in _nodes(values) if isinstance(node, BackwardCFunction)}
    if not own:
        return None
    if any(node.name() == _MARKED for node in _nodes(gradient)):
        return f"{_names(own)} can be differentiated only once (@once_differentiable); {_REMEDY}"
    fresh = {kind for kind in own if kind not in _SOUND}
    if fresh and _differs(request, differentiate):
        return f"the backward pass of {_names(own)} leaves autograd's graph; {_REMEDY}"
    for kind in fresh:
        _SOUND.add(kind)
    return None


def refuse(gradient: Tensor, inputs: Tensor, message: str) -> Tensor:
    """The gradient itself, whose derivative in inputs or parameters raises a `SurefootError`."""
    refused: Tensor = _Refused.apply(gradient, inputs, message)  # type: ignore[no-untyped-call]
    return refused


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, _inputs: Tensor, message: str) -> Tensor:
        ctx.message = message
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_slopes: Tensor) -> Any:
        raise SurefootError(f"the map has no derivative: {ctx.message}")


def _nodes(values: Tensor) -> Iterator[Any]:
    seen, pending = set(), [values.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        pending += [below for below, _ in node.next_functions]


def _names(kinds: set[type]) -> str:
    return " and ".join(sorted(kind.__name__.removesuffix("Backward") for kind in kinds))


def _double(value: Any) -> Any:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return value.double() if floats else value


def _differs(request: Query, differentiate: Differentiate) -> bool:
    """Whether the second derivative along a random way is not what differences say.

    In double precision, so that the step is too small to cross kinks; False where the model does
    not run there.
    """
    start = request.inputs.detach().double()
    way, weights = draws.normal(0, slice(0, 1), start), draws.normal(0, slice(1, 2), start)
    try:
        model = copied(request.model).double()
        extra = {name: _double(value) for name, value in request.extra.items()}
        asked = replace(request, model=model, extra=extra, create_graph=True)

        def at(points: Tensor) -> tuple[Tensor, Tensor]:
            return differentiate(replace(asked, inputs=points.requires_grad_()))

        point, gradient = at(start.clone())
        (exact,) = torch.autograd.grad(
            (gradient * weights).sum(), point, allow_unused=True, materialize_grads=True
        )
        ahead, behind = (at(start + sign * _STEP * way)[1].detach() for sign in (1, -1))
    except (RuntimeError, TypeError, NotImplementedError):
        return False
    change = ((ahead - behind) * weights).sum() / (2 * _STEP)
    known = (exact * way).sum()
    rounding = _ROUNDING * (ahead * weights).abs().sum()
    return bool((change - known).abs() > _TOLERANCE * (change.abs() + known.abs()) + rounding)
