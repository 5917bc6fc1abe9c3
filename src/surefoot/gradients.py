"""The one place that calls autograd: scores of a class and their gradients with respect to inputs.

Nothing here touches parameter gradients, training modes or the global random state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, get_args
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from surefoot import checks
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError

_NO_GRADIENT = (
    "the model's output has no gradient with respect to its inputs; it may detach them, run under "
    "torch.no_grad(), or convert them to NumPy or to integers"
)

_CHANNELS_FIRST: "WeakSet[nn.Module]" = WeakSet()
_CHANNELS_LAST: "WeakSet[nn.Module]" = WeakSet()
_COMPILED = ("donated buffer", "aot_autograd does not currently support double backward")

Score = Literal["logit", "probability", "log_probability", "loss", "margin"]


@dataclass(frozen=True)
class Query:
    """One request, checked: what is explained, for which class, and whether a graph is wanted.

    Explainers pass it down to the explainers they wrap; `expand` and `take` keep `target` and
    `extra` in step with the rows.
    """

    model: nn.Module
    inputs: Tensor
    target: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    create_graph: bool = False

    def take(self, samples: slice | Tensor) -> "Query":
        """The same request for some of the samples, by slice, numbers or mask."""
        return replace(
            self,
            inputs=self.inputs[samples],
            target=self.target[samples],
            extra={name: value[samples] for name, value in self.extra.items()},
        )

    def expand(self, variants: Tensor) -> "Query":
        """The request for `variants` (N, V, ...) of each sample, flattened to N * V rows."""
        times = variants.shape[1]
        return replace(
            self,
            inputs=variants.flatten(0, 1),
            target=self.target.repeat_interleave(times),
            extra={name: value.repeat_interleave(times, 0) for name, value in self.extra.items()},
        )


def query(
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target = None,
    extra: Mapping[str, Tensor] | None = None,
    create_graph: bool | None = None,
) -> Query:
    """Check a request and resolve its target; `target=None` is the class predicted for `inputs`.

    Whether a given target is within the model's classes is checked where its score is taken.
    `create_graph=None` means: if `inputs` require a gradient and gradients are enabled.
    """
    checks.check_model(model)
    checks.check_inputs(inputs)
    extra = checks.check_extra(extra, len(inputs))
    if create_graph is None:
        create_graph = inputs.requires_grad and torch.is_grad_enabled()
    with torch.inference_mode(False):
        inputs = ordinary(inputs if create_graph else inputs.detach())
        extra = {name: ordinary(value) for name, value in extra.items()}
        if target is None:
            labels = predict(model, inputs, extra).argmax(1)
        else:
            labels = ordinary(checks.check_target(target, inputs))
    return Query(model, inputs, labels, extra, create_graph)


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one made under `torch.inference_mode()`: autograd refuses those."""
    return tensor.clone() if tensor.is_inference() else tensor


def predict(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Logits (N, K) without a graph, in chunks."""
    extra = extra or {}

    def compute(block: Block) -> Tensor:
        some = {name: value[block.samples] for name, value in extra.items()}
        return forward(model, inputs[block.samples], some)

    with torch.no_grad():
        parts = each_block(len(inputs), 1, rows_per_batch(inputs, chunk), compute)
        return torch.cat([logits for _, logits in parts])


def forward(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
    """Logits (N, K) of one batch."""
    return checks.check_logits(run(model, inputs, extra), len(inputs))


def single(logits: Tensor) -> Tensor:
    """Logits in single precision at least: in 16 bits probabilities do not even add up to 1."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def run(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> object:
    """`model(inputs, **extra)` on a copy, so that a first layer in place harms nothing.

    On a CPU, images are laid out channels last, which convolutions like better (about 15 % on
    EfficientNet-Lite0); a model that cannot take that, because it calls `.view` on a feature map,
    is remembered by its first layer, whatever wraps it, and gets the ordinary layout. What the
    pass that failed did to buffers and random numbers is undone.
    """
    if inputs.ndim != 4 or inputs.device.type != "cpu":
        return model(inputs.clone(), **extra)
    layer = _first_layer(model)
    if layer not in _CHANNELS_FIRST:
        undo = None if layer in _CHANNELS_LAST else _undo(model)
        try:
            result: object = model(inputs.clone(memory_format=torch.channels_last), **extra)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _CHANNELS_FIRST.add(layer)
            if undo is not None:
                undo()
        else:
            _CHANNELS_LAST.add(layer)
            return result
    return model(inputs.clone(), **extra)


def _first_layer(model: nn.Module) -> nn.Module:
    """The first submodule with weights of its own, which is the same in every wrapper."""
    for layer in model.modules():
        if next(layer.parameters(recurse=False), None) is not None:
            return layer
    return model


def _undo(model: nn.Module) -> Callable[[], None]:
    """What puts the model's buffers and torch's random numbers back to where they are now."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    state = torch.get_rng_state()

    def restore() -> None:
        torch.set_rng_state(state)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)

    return restore


def all_scores(logits: Tensor, score: Score) -> Tensor:
    """The named score of every class, (N, K).

    `logit` itself; `probability` softmax; `log_probability` its logarithm; `loss` cross-entropy
    with the class as label; `margin` the logit minus the largest other logit.

    >>> all_scores(torch.tensor([[3.0, 1.0, 0.0]]), "margin")
    tensor([[ 2., -2., -3.]])
    """
    if score == "logit":
        return logits
    if score == "probability":
        return logits.softmax(1)
    if score == "log_probability":
        return logits.log_softmax(1)
    if score == "loss":
        return -logits.log_softmax(1)
    if score == "margin":
        top = logits.topk(2, dim=1).values
        best, second = top[:, :1], top[:, 1:]
        leads = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).bool()
        return logits - torch.where(leads, second, best)
    raise SurefootError(f"score={score!r} is unknown; choose one of {list(get_args(Score))}")


def class_scores(logits: Tensor, target: Tensor, score: Score) -> Tensor:
    """The named score of each sample's target class, (N,)."""
    checks.check_target_range(target, logits)
    # Indexing saves only the indices for backward; gather would save the logits.
    return all_scores(logits, score)[torch.arange(len(target), device=target.device), target]


def input_gradient(request: Query, score: Score) -> Tensor:
    """The gradient of the target's score with respect to the inputs, one batch, (N, ...).

    With `create_graph` the result can be differentiated again, in the inputs and the parameters.
    """
    return logits_and_gradients(request, partial(class_scores, score=score))[1][0]


def gradient_and_logits(
    request: Query, score: Score, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """`input_gradient` (N, ...) and the logits (N, K) of the same forward pass, in chunks."""
    named = partial(class_scores, score=score)

    def compute(block: Block) -> tuple[Tensor, Tensor]:
        logits, (gradient,) = logits_and_gradients(request.take(block.samples), named)
        return gradient, logits

    rows = rows_per_batch(request.inputs, chunk)
    parts = [part for _, part in each_block(len(request.inputs), 1, rows, compute)]
    return torch.cat([gradient for gradient, _ in parts]), torch.cat(
        [logits for _, logits in parts]
    )


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
        inputs = _differentiable(request)
        logits = single(forward(request.model, inputs, request.extra))
        found = []
        totals = scores(logits)
        for left, total in zip(range(len(totals))[::-1], totals, strict=True):
            gradient = _gradient(total, inputs, again=again, keep=again or left > 0)
            # Where the gradient does not depend on the inputs, its derivative is 0, not an error.
            found.append(gradient + 0 * inputs if again else gradient)
        return logits if again else logits.detach(), found


def _gradient(values: Tensor, inputs: Tensor, *, again: bool, keep: bool) -> Tensor:
    if not values.requires_grad:
        raise SurefootError(_NO_GRADIENT)
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
    weights = weights.to(request.inputs)

    def compute(block: Block) -> Tensor:
        points = make(block)
        rows = request.take(block.samples).expand(points)
        gradients = input_gradient(rows, score).view_as(points)
        return torch.einsum("v,nv...->n...", weights[block.variants], gradients)

    rows = rows_per_batch(request.inputs, chunk)
    parts = each_block(len(request.inputs), len(weights), rows, compute)
    return sum_blocks(parts, request.inputs)


def sum_blocks(parts: Iterator[tuple[Block, Tensor]], like: Tensor) -> Tensor:
    """Add up the results of blocks into a tensor shaped like `like`; differentiable."""
    total = torch.zeros_like(like, requires_grad=False)
    for block, value in parts:
        total[block.samples] += value
    return total


def value_and_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """`function(at)`, (R,), and the gradient of each of its values in its own row, (R, ...)."""
    with _autograd(create_graph=False):
        point = at.detach().requires_grad_(True)
        value = function(point)
        (gradient,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return value.detach(), gradient


def _differentiable(request: Query) -> Tensor:
    if request.create_graph and request.inputs.requires_grad:
        return request.inputs
    return request.inputs.detach().requires_grad_(True)


@contextmanager
def _autograd(create_graph: bool) -> Iterator[None]:
    # Fused attention has no second derivative; the plain kernel has.
    attention = sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), attention:
        try:
            yield
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):
                raise SurefootError(
                    "the model overwrites a tensor that its gradient needs (an in-place operation "
                    "such as x += y or ReLU(inplace=True) after one that saves its output); set "
                    f"inplace=False there. PyTorch says: {error}"
                ) from error
            if any(words in str(error) for words in _COMPILED):
                raise SurefootError(
                    "the model went through torch.compile, which has no second derivative; give "
                    "the module from before (model._orig_mod), and compile it for what follows. "
                    f"PyTorch says: {error}"
                ) from error
            raise
