"""Gradients of scores with respect to inputs: the one place that calls autograd."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from surefoot import checks, turns
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients._door import check_score
from surefoot.gradients._faults import blaming_backward, keeping_all, translated
from surefoot.gradients._query import Query
from surefoot.gradients._run import forward
from surefoot.gradients._scores import Score, class_scores, single
from surefoot.gradients._whole import missing, refuse

_NO_GRADIENT = (
    "the model's output has no gradient with respect to its inputs; it may detach them, run under "
    "torch.no_grad(), or convert them to NumPy or to integers"
)


def _plain_attention() -> Callable[[], object]:
    kernels = sdpa_kernel(SDPBackend.MATH)
    kernels.__enter__()
    return lambda: kernels.__exit__(None, None, None)


# Which kernels attention takes is said for the whole process: the last thread takes it back.
_PLAIN_ATTENTION = turns.Flags(_plain_attention)


def input_gradient(request: Query, score: Score) -> Tensor:
    """The gradient of the target's score with respect to the inputs, one batch, (N, ...).

    With `create_graph` the result can be differentiated again, in the inputs and the parameters.
    """
    return logits_and_gradients(request, _named(request, score))[1][0]


def gradient_and_logits(
    request: Query, score: Score, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """`input_gradient` (N, ...) and the logits (N, K) of the same forward pass, in chunks."""
    named = _named(request, score)

    def compute(block: Block) -> tuple[Tensor, Tensor]:
        logits, (gradient,) = logits_and_gradients(request.take(block.samples), named)
        return gradient, logits

    rows = rows_per_batch(request.inputs, chunk)
    parts = [part for _, part in each_block(len(request.inputs), 1, rows, compute)]
    return torch.cat([gradient for gradient, _ in parts]), torch.cat(
        [logits for _, logits in parts]
    )


def _named(request: Query, score: Score) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of logits and targets (N,); among the entries of an output only its value."""
    check_score(request.model, score)

    def named(logits: Tensor, target: Tensor) -> Tensor:
        return class_scores(checks.check_known(logits), target, score)

    return named


def logits_and_gradients(
    request: Query, *scores: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Logits (N, K), and the gradient in the inputs of each score of them, from one forward pass.

    A score maps logits and targets (N,) to one number a sample, (N,). With `create_graph` logits
    and gradients can be differentiated again, in the inputs and the parameters.
    """
    return _logits_and_gradients(
        request, lambda logits: [score(logits, request.target) for score in scores]
    )


def logits_and_jacobian(request: Query) -> tuple[Tensor, list[Tensor]]:
    """Logits (N, K), and the gradient in the inputs of each of the K, from one forward pass."""
    return _logits_and_gradients(request, lambda logits: logits.unbind(1))


def _logits_and_gradients(
    request: Query, scores: Callable[[Tensor], Sequence[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    again = request.create_graph
    with _autograd(again):
        inputs, logits = _passed(request)
        found = []
        totals = scores(logits)
        for left, total in zip(range(len(totals))[::-1], totals, strict=True):
            gradient = _gradient(total, inputs, again=again, keep=again or left > 0)
            found.append(_complete(gradient, inputs, total, request, scores) if again else gradient)
        # Where a gradient does not depend on the inputs, its derivative is 0, not an error.
        found = [gradient + 0 * inputs if again else gradient for gradient in found]
        return logits if again else logits.detach(), found


def _passed(request: Query) -> tuple[Tensor, Tensor]:
    """The inputs that are differentiated, and their logits in single precision at least."""
    inputs = _differentiable(request)
    with keeping_all(request.model) if request.create_graph else nullcontext():
        return inputs, single(forward(request.model, inputs, request.extra))


def _complete(
    gradient: Tensor,
    inputs: Tensor,
    values: Tensor,
    request: Query,
    scores: Callable[[Tensor], Sequence[Tensor]],
) -> Tensor:
    """The gradient, whose derivative raises where a part of it is missing."""

    def differentiate(asked: Query) -> tuple[Tensor, Tensor]:
        inputs, logits = _passed(asked)
        return inputs, _gradient(scores(logits)[0], inputs, again=True, keep=True)

    lacks = missing(values, gradient, request, differentiate)
    return gradient if lacks is None else refuse(gradient, inputs, lacks)


def _gradient(values: Tensor, inputs: Tensor, *, again: bool, keep: bool) -> Tensor:
    if not values.requires_grad:
        raise SurefootError(_NO_GRADIENT)
    with blaming_backward():
        (gradient,) = torch.autograd.grad(
            values.sum(), inputs, create_graph=again, retain_graph=keep, allow_unused=True
        )
    if gradient is None:
        raise SurefootError(_NO_GRADIENT)
    found: Tensor = gradient
    return found


def mean_gradient(
    request: Query,
    score: Score,
    make: Callable[[Block], Tensor],
    weights: Tensor,
    chunk: int | None = None,
) -> Tensor:
    """The weighted sum, over V variants of each input, of the gradient at them, (N, ...).

    `make(block)` gives those variants of those samples, (n, v, ...); `weights` is (V,). Memory is
    one chunk of rows, whatever the number of variants, unless a graph is created.
    """
    weights = single(weights.to(request.inputs))

    def compute(block: Block) -> Tensor:
        points = make(block)
        rows = request.take(block.samples).expand(points)
        gradients = single(input_gradient(rows, score).view_as(points))
        # Not einsum, which autocast takes to 16 bits.
        return (weights[block.variants].view(-1, *[1] * (points.ndim - 2)) * gradients).sum(1)

    rows = rows_per_batch(request.inputs, chunk)
    parts = each_block(len(request.inputs), len(weights), rows, compute)
    return sum_blocks(parts, request.inputs)


def sum_blocks(parts: Iterator[tuple[Block, Tensor]], like: Tensor) -> Tensor:
    """Add up the results of blocks into a tensor shaped like `like`; differentiable.

    Sums are taken in single precision at least.
    """
    total = single(torch.zeros_like(like, requires_grad=False))
    for block, value in parts:
        total[block.samples] += value
    return total.to(like.dtype)


def value_and_gradient(
    function: Callable[[Tensor], Tensor], at: Tensor, *, again: bool = False, needed: bool = False
) -> tuple[Tensor, Tensor]:
    """`function(at)`, (R,), and the gradient of each of its values in its own row, (R, ...).

    `again` says that the function holds gradients itself, whose graphs are differentiated here;
    `needed` that it is a model's score, so that no gradient is an error and not 0.
    """
    with _autograd(create_graph=again):
        point = at.detach().requires_grad_(True)
        value = function(point)
        if needed and not value.requires_grad:
            raise SurefootError(_NO_GRADIENT)
        with blaming_backward():
            (gradient,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
        if needed and gradient is None:
            raise SurefootError(_NO_GRADIENT)
        gradient = torch.zeros_like(point) if gradient is None else gradient
    return value.detach(), gradient


def _differentiable(request: Query) -> Tensor:
    if request.create_graph and request.inputs.requires_grad:
        return request.inputs
    return request.inputs.detach().requires_grad_(True)


@contextmanager
def _autograd(create_graph: bool) -> Iterator[None]:
    # Fused attention has no second derivative; the plain kernel has.
    attention = _PLAIN_ATTENTION() if create_graph else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), attention, translated():
        yield
