"""Validation at the door: every message says what came, what was expected and what to do."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from surefoot import programs
from surefoot.errors import SurefootError

Bounds = tuple[float | Tensor, float | Tensor]
Target = int | Tensor | None

_OF_TEXTS = "for texts use surefoot.explain.sentences(explainer, model, tokenizer, texts)"


def check_model(model: nn.Module) -> None:
    """Raise unless `model` is a module that is wholly in evaluation mode."""
    if not isinstance(model, nn.Module):
        raise SurefootError(
            f"model is a {type(model).__name__}, expected a torch.nn.Module from inputs (N, ...) "
            "to logits (N, K); wrap a function in a small Module"
        )
    lazy = [name for name, p in [*model.named_parameters(), *model.named_buffers()] if is_lazy(p)]
    if lazy:
        raise SurefootError(
            f"model has lazy layers that know no shape yet ({lazy[0]}); run it once on inputs of "
            "the right shape first: model(inputs)"
        )
    training = next(programs.in_training(model), None)
    if training is not None:
        remedy = "call model.eval() first"
        if programs.hidden(model, "exported"):
            remedy += ", and before torch.export: a program keeps the mode it was exported in"
        raise SurefootError(
            f"model is in training mode ({training}); dropout and batch norm would make the "
            f"result random and change the model: {remedy}"
        )


def check_inputs(inputs: Tensor, name: str = "inputs") -> None:
    """Raise unless `inputs` is a finite floating-point batch `(N, ...)` with N >= 1."""
    if not isinstance(inputs, Tensor):
        raise SurefootError(
            f"{name} is a {type(inputs).__name__}, expected a torch.Tensor (N, ...); "
            + (_OF_TEXTS if isinstance(inputs, Mapping) else "convert it with torch.as_tensor")
        )
    check_plain(inputs, name)
    if not inputs.is_floating_point():
        raise SurefootError(
            f"{name} has dtype {inputs.dtype}, expected floating point: integers have no gradient. "
            f"Scale pixels to [0, 1] with x.float() / 255; {_OF_TEXTS}; for tokens use "
            'surefoot.models.Classifier(model, embedding="...") and explain model.embed(tokens)'
        )
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise SurefootError(
            f"{name} has shape {tuple(inputs.shape)}, expected a non-empty batch (N, ...); "
            "add the batch dimension with x[None]"
        )
    if not torch.isfinite(inputs).all():
        bad = int((~torch.isfinite(inputs)).sum())
        raise SurefootError(f"{name} has {bad} NaN or infinite values, expected finite numbers")


def check_plain(tensor: Tensor, name: str) -> None:
    """Raise for a tensor without numbers (meta), or not laid out as such (sparse, quantised)."""
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        what = "on the meta device" if tensor.is_meta else f"laid out as {tensor.layout}"
        raise SurefootError(
            f"{name} is {what}, expected a dense tensor with numbers; tensor.to_dense() makes one"
        )


def check_bounds(
    inputs: Tensor, bounds: Bounds, name: str = "inputs", *, rows: bool = False
) -> tuple[Tensor, Tensor]:
    """The box as two tensors shaped like one input; raises where `inputs` leave it.

    With `rows` a bound may also have one row a sample, and is shaped like the inputs then.
    """
    if not isinstance(bounds, Sequence) or len(bounds) != 2:
        raise SurefootError(f"bounds={bounds!r}, expected a pair (low, high) such as (0, 1)")
    low, high = (broadcast_bound(bound, inputs, rows=rows) for bound in bounds)
    if not (low <= high).all():
        raise SurefootError(f"bounds={bounds} are not ordered: expected (low, high), low <= high")
    if (inputs < low).any() or (inputs > high).any():
        raise SurefootError(
            f"{name} span [{inputs.min():.4g}, {inputs.max():.4g}] and leave bounds "
            f"[{low.min():.4g}, {high.max():.4g}]; scale them, or pass the right bounds=(low, high)"
            " (normalisation belongs inside the model: surefoot.models.Classifier)"
        )
    return low, high


def broadcast_bound(bound: float | Tensor, inputs: Tensor, *, rows: bool = False) -> Tensor:
    """A bound as a tensor shaped like one input, or like all where it has `rows`."""
    value = torch.as_tensor(bound, dtype=inputs.dtype, device=inputs.device)
    try:
        if rows and value.ndim == inputs.ndim:
            return value.expand(inputs.shape)
        return value.expand(inputs.shape[1:])
    except RuntimeError:
        raise SurefootError(
            f"a bound has shape {tuple(value.shape)}, which does not broadcast to one input "
            f"{tuple(inputs.shape[1:])}"
        ) from None


def check_names(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """`extra` as a dict, after checking that it is one."""
    if extra is not None and not isinstance(extra, Mapping):
        raise SurefootError(
            f"extra is a {type(extra).__name__}, expected a dict from the names of the model's "
            "further arguments to tensors"
        )
    return dict(extra or {})


def check_extra(extra: Mapping[str, Tensor] | None, samples: int) -> dict[str, Tensor]:
    """`extra` as a dict, after checking that each entry is a tensor with leading dimension N."""
    named = check_names(extra)
    for name, value in named.items():
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != samples:
            came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise SurefootError(
                f"extra[{name!r}] is {came}, expected a tensor with leading dimension {samples}, "
                "one row a sample"
            )
    return named


def check_logits(logits: object, samples: int, one_output: bool = False) -> Tensor:
    """`logits` itself, if it is a floating-point `(N, K)` tensor, K >= 2 or `one_output`."""
    if not isinstance(logits, Tensor):
        raise SurefootError(
            f"the model returned a {type(logits).__name__}, expected logits (N, K); pick them out "
            'with surefoot.models.Classifier(model, output="logits") or output=0, or make them of '
            'anything with a callable: output=lambda found: torch.stack([one["scores"] for one in '
            "found])"
        )
    if logits.ndim != 2 or len(logits) != samples or logits.shape[1] < (1 if one_output else 2):
        raise SurefootError(
            f"the model returned shape {tuple(logits.shape)} for {samples} inputs, expected logits "
            f"(N, K) with K >= 2; it does not look like a classifier. {_remedy(logits, samples)}"
        )
    if not logits.is_floating_point():
        raise SurefootError(
            f"the model returned dtype {logits.dtype}, expected floating-point logits"
        )
    return logits


def _remedy(logits: Tensor, samples: int) -> str:
    """The line to write for outputs that are not (N, K)."""
    wrap = "write surefoot.models.Classifier(model, output="
    if logits.ndim and len(logits) == samples == logits.numel():
        return (
            f'For a single number, {wrap}"regression"), or "binary" if it is one logit of two '
            "classes"
        )
    if logits.ndim == 4:
        return (
            f'For a segmentation (N, K, H, W), {wrap}"segmentation"), the mean over the places, or '
            "give an explainer target=(class, row, column)"
        )
    if logits.ndim == 3:
        return (
            f'For one output a step (N, T, K), {wrap}"last"), or "detection" for the largest over '
            "the T, or give an explainer target=(step, class)"
        )
    return f"{wrap}lambda found: ...) with what makes scores (N, K) of it"


def check_known(logits: Tensor) -> Tensor:
    """`logits` itself, if none of it is NaN, which would count as class 0."""
    if torch.isnan(logits).any():
        bad = int(torch.isnan(logits).flatten(1).any(1).sum())
        raise SurefootError(
            f"the model's outputs are NaN for {bad} of {len(logits)} inputs; look for a division "
            "by zero, sqrt(0) or log(0) in it, for weights that are not finite, or for numbers "
            "too large for half precision"
        )
    return logits


def check_target(target: object, inputs: Tensor, name: str = "target") -> Tensor:
    """`target` as a long tensor (N,), given as one class for all or one for each sample."""
    try:
        labels = torch.as_tensor(target, device=inputs.device)
    except (TypeError, ValueError, RuntimeError):
        raise SurefootError(f"{name}={target!r}, expected integer class indices") from None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise SurefootError(f"{name} has dtype {labels.dtype}, expected integer class indices")
    if labels.ndim > 1 or labels.numel() not in (1, len(inputs)):
        raise SurefootError(
            f"{name} has shape {tuple(labels.shape)}, expected one class, or one for each of the "
            f"{len(inputs)} inputs"
        )
    return labels.long().expand(len(inputs))


def check_target_range(target: Tensor, logits: Tensor, name: str = "target") -> None:
    """Raise unless every target (N,) is a class of `logits` (N, K)."""
    classes = logits.shape[1]
    if ((target < 0) | (target >= classes)).any():
        raise SurefootError(
            f"{name} spans [{int(target.min())}, {int(target.max())}], expected class indices in "
            f"[0, {classes - 1}]: the model has {classes} outputs"
        )


def check_finite(attributions: Tensor) -> Tensor:
    """`attributions` itself, if it holds no NaN and no infinity."""
    if not torch.isfinite(attributions).all():
        raise SurefootError(
            "the attributions hold NaN or infinite values although the inputs are finite; look for "
            "a division by zero, sqrt(0) or log(0) in the model, or use float32 instead of half"
        )
    return attributions


def check_whole(name: str, value: object, least: int) -> None:
    """Raise unless `value` is a whole number, at least `least`; True and 2.0 are none."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise SurefootError(f"{name}={value!r}, expected a whole number, at least {least}")
    if number < least:
        raise SurefootError(f"{name}={value}, expected at least {least}")


def check_number(name: str, value: object) -> None:
    """Raise unless `value` is a number; True is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SurefootError(f"{name}={value!r}, expected a number")
