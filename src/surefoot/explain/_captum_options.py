"""From a name and keyword options to captum's class and what its two calls take."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import errors
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.layers import layer_name

INNER = "attribution_method"
_OURS = ("self", "inputs", "target", "additional_forward_args", "forward_func", "model")
_BATCH_MIXERS = ("FeaturePermutation", "LayerFeaturePermutation", "NeuronFeaturePermutation")


def find_method(algorithm: str | type) -> type:
    """The class of `captum.attr` with that name, or the class given."""
    captum = errors.optional("captum.attr", "captum")
    found = getattr(captum, algorithm, None) if isinstance(algorithm, str) else algorithm
    if not isinstance(found, type) or not hasattr(found, "attribute"):
        known = [n for n in captum.__all__ if hasattr(getattr(captum, n), "attribute")]
        raise SurefootError(
            f"captum.attr has no method {algorithm!r}; {errors.suggest(str(algorithm), known)}"
        )
    if found.__name__ in _BATCH_MIXERS:
        raise SurefootError(
            f"{found.__name__} permutes features across the batch, so that a sample's map depends "
            "on the others; use FeatureAblation"
        )
    return found


def find_methods(algorithm: str | type, options: Mapping[str, Any]) -> list[type]:
    """The method, and those it wraps as NoiseTunnel does, outermost first."""
    method = find_method(algorithm)
    if INNER not in options:
        return [method]
    rest = {k: v for k, v in options.items() if k != INNER}
    return [method, *find_methods(options[INNER], rest)]


def split_options(
    methods: list[type], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`options` as (those of the methods' constructors, those of their `.attribute`)."""
    construct, call = (
        {name: p for method in methods for name, p in signature(method, where).items()}
        for where in ("__init__", "attribute")
    )
    known = {k: p for k, p in (construct | call).items() if k not in _OURS}
    who = f"captum's {methods[0].__name__}"
    for name in options:
        if name not in known and name != INNER:
            raise SurefootError(f"{who} has no option {name!r}; {errors.suggest(name, known)}")
    missing = [k for k, p in known.items() if p.default is p.empty and k not in options]
    if missing:
        raise SurefootError(f"{who} needs the options {missing}")
    rest = {k: v for k, v in options.items() if k not in construct}
    return {k: options[k] for k in options if k not in rest}, rest


def signature(method: Any, where: str) -> dict[str, inspect.Parameter]:
    """The named parameters of a method's constructor or `.attribute`."""
    parameters = inspect.signature(getattr(method, where)).parameters
    open_ended = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in parameters.items() if p.kind not in open_ended}


def fit(options: Mapping[str, Any], method: type, request: Query) -> dict[str, Any]:
    """Options in captum's form: layers as modules, tensors on the device with a batch dimension."""
    fitted: dict[str, Any] = {}
    for name, value in options.items():
        if name == "layer" and isinstance(value, str | nn.Module):
            fitted[name] = request.model.get_submodule(layer_name(request.model, value))
        elif name == "baselines" and "Shap" in method.__name__ and isinstance(value, int | float):
            fitted[name] = torch.full_like(request.inputs[:1], value).repeat_interleave(2, 0)
        elif isinstance(value, Tensor):
            fitted[name] = _fit_tensor(value, name, method, request)
        else:
            fitted[name] = value
    return fitted


def _fit_tensor(value: Tensor, name: str, method: type, request: Query) -> Tensor:
    inputs = request.inputs
    value = value.to(inputs) if value.is_floating_point() else value.to(inputs.device)
    if value.shape == inputs.shape[1:]:
        value = value[None]
    if name == "baselines" and "Shap" in method.__name__:
        return value
    return request.each(value, name) if value.ndim else value
