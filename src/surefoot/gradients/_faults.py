"""What PyTorch refuses while it runs or differentiates a model, and the way around it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from surefoot import programs
from surefoot.errors import SurefootError

# (what PyTorch's message holds, what that means and what to do)
_FAULTS = (
    (
        "modified by an inplace operation",
        "the model overwrites a tensor that its gradient needs (an in-place operation such as "
        "x += y or ReLU(inplace=True) after one that saves its output); set inplace=False there",
    ),
    (
        "donated buffer|aot_autograd does not currently support double backward",
        "the model went through torch.compile, which has no second derivative; give the module "
        "from before (model._orig_mod), and compile it for what follows",
    ),
    (
        "use_reentrant=True",
        "the model checkpoints its activations with use_reentrant=True, which knows no gradient "
        "of inputs; call torch.utils.checkpoint.checkpoint(..., use_reentrant=False) there, or "
        "switch checkpointing off, as with model.gradient_checkpointing_disable() or "
        "model.set_grad_checkpointing(False)",
    ),
    (
        r"torch\.utils\.checkpoint",
        "activation checkpointing found another forward pass when it ran the model again; switch "
        "it off (model.gradient_checkpointing_disable(), model.set_grad_checkpointing(False)), or "
        'attack with second_order="finite"',
    ),
    (
        "cudnn RNN backward",
        "cuDNN has no gradient of recurrent layers in evaluation mode; make the call inside "
        "`with torch.backends.cudnn.flags(enabled=False):`, which takes PyTorch's own kernels",
    ),
    (
        r"Can't call numpy\(\) on Tensor that requires grad",
        "the model turns a tensor into a NumPy array, where PyTorch's gradients end; write that "
        "part with torch operations",
    ),
    (
        "Inference tensors cannot be saved for backward",
        "the model holds weights that were made under torch.inference_mode(), which have no "
        "gradients; make or load it outside, or give copy.deepcopy(model), copied outside",
    ),
    (
        r"Guard failed: .*size\(\)\[0\]",
        "the exported program takes batches of one size only; export it with a dynamic first "
        'dimension: dynamic_shapes=({0: torch.export.Dim("batch")},)',
    ),
    (
        "same device",
        "the model's weights and the inputs are on different devices; move one of them with "
        ".to(device)",
    ),
    (
        "derivative for .* is not implemented|differentiate twice a function",
        "the model uses an operation that can be differentiated only once; attacks take "
        'second_order="finite" for Gradient, InputXGradient, IntegratedGradients and '
        "SmoothGrad(Gradient()); anything else needs an operation with a second derivative",
    ),
)
_KIND_MISMATCH = re.compile("dtype|scalar type|type .*should be the same")


@contextmanager
def translated(model: nn.Module | None = None, inputs: Tensor | None = None) -> Iterator[None]:
    """PyTorch's refusals that come inside as a `SurefootError` that tells the remedy."""
    try:
        yield
    except SurefootError:
        raise
    except (RuntimeError, AssertionError) as error:
        told = _told(str(error)) or _other_dtype(str(error), model, inputs)
        if told is None:
            raise
        raise SurefootError(f"{told}. PyTorch says: {error}") from error


class ModelError(SurefootError, RuntimeError):
    """A model's own pass fails."""


@contextmanager
def blaming_backward() -> Iterator[None]:
    """Whatever a model's backward pass raises comes as one error that says so."""
    try:
        yield
    except SurefootError:
        raise
    except Exception as error:  # the model is the user's and may raise anything
        if _is_memory(error) or _told(str(error)) is not None:
            raise
        raise ModelError(
            f"the model's backward pass fails: {type(error).__name__}: {_in_a_line(error)}"
        ) from error


@contextmanager
def blamed(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Whatever a model raises comes as one error that names it and what it was given."""
    try:
        yield
    except SurefootError:
        raise
    except Exception as error:  # the model is the user's and may raise anything
        if _is_memory(error):
            raise
        shape = ", ".join(map(str, inputs.shape[1:]))
        raise ModelError(
            f"the model, a {type(model).__name__}, fails on inputs (N, {shape}): "
            f"{type(error).__name__}: {_in_a_line(error)}"
        ) from error


def _is_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def keeping() -> Iterator[None]:
    """What is saved for backward inside is kept, whatever checkpointing runs around it.

    Checkpointing runs a part of the model again during the backward pass, where a surrogate no
    longer stands in for the activations, and finds that it saves other tensors. Kept tensors need
    no second run.
    """
    if not _around():
        yield
    else:
        with saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
            yield


def _around() -> bool:
    """Whether something handles what is saved; torch before 2.6 does not tell."""
    told = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return told is None or told(False) is not None


class _Keeping(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        with keeping():
            return func(*args, **(kwargs or {}))


@contextmanager
def keeping_all(model: nn.Module) -> Iterator[None]:
    """What any operation of a checkpointing model saves for backward is kept, see `keeping`.

    The user's own `.backward()` comes later, where attention would take a kernel again that
    cannot be differentiated twice.
    """
    if any(programs.mentions(type(module), "checkpoint") for module in model.modules()):
        with _Keeping():
            yield
    else:
        yield


def _told(message: str) -> str | None:
    return next((told for words, told in _FAULTS if re.search(words, message)), None)


def _other_dtype(message: str, model: nn.Module | None, inputs: Tensor | None) -> str | None:
    if model is None or inputs is None or not _KIND_MISMATCH.search(message):
        return None
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if not kinds or inputs.dtype in kinds:
        return None
    wanted = " and ".join(sorted(map(str, kinds)))
    return (
        f"inputs are {inputs.dtype} and the model's weights {wanted}: give both the same dtype, "
        f"with inputs.to({wanted.split(' and ')[0]}) or model.to({inputs.dtype})"
    )
