"""Explainers in the forms that captum and Quantus call."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer, as_explainer
from surefoot.explain._expected import ExpectedGradients
from surefoot.explain._gradient import InputXGradient
from surefoot.explain._integrated import IntegratedGradients

Array = npt.NDArray[Any]


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    # captum's NoiseTunnel calls `attribute.__wrapped__`, to go around its own logging.
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@dataclass(frozen=True)
class Bound:
    """An explainer with its model, in the form of captum's attribution objects; see `bind`."""

    explainer: Explainer
    forward_func: nn.Module

    @_wrapped
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: checks.Target = None,
        additional_forward_args: object = None,
        *,
        create_graph: bool | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Attributions of `inputs`, a tensor or a tuple of one, in the same form.

        Args:
            inputs: (N, ...).
            target: class index, one for each sample, or None for the predicted class.
            additional_forward_args: a tensor or a tuple of tensors with leading dimension N: the
                model's further arguments, in the order of its `forward`.
            create_graph: see `Explainer.__call__`.
        """
        (tensor,) = _single(inputs)
        extra = _named(self.forward_func, additional_forward_args)
        target = torch.as_tensor(target) if isinstance(target, Sequence) else target
        result = self.explainer(
            self.forward_func, tensor, target, extra=extra, create_graph=create_graph
        )
        return (result,) if isinstance(inputs, tuple) else result

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the map holds a factor of the inputs (or their distance from a baseline)."""
        return _multiplies(self.explainer)

    def has_convergence_delta(self) -> bool:
        """False: see `IntegratedGradients.completeness_gap` for that number."""
        return False


def bind(explainer: Explainer, model: nn.Module) -> Bound:
    """The explainer as an object with `.attribute`, which captum's wrappers and metrics take.

    For `captum.attr.NoiseTunnel(bind(e, model))`, or
    `captum.metrics.sensitivity_max(bind(e, model).attribute, x, target=y)`.

    >>> from surefoot.explain import Gradient
    >>> bind(Gradient(), torch.nn.Linear(2, 2).eval()).attribute(torch.ones(1, 2), target=0).shape
    torch.Size([1, 2])
    """
    return Bound(as_explainer(explainer), model)


def quantus(explainer: Explainer) -> Callable[..., Array]:
    """The explainer as an `explain_func` for Quantus: NumPy in, NumPy out.

    The function returned is `f(model, inputs, targets, *, device=None, extra=None)`. Inputs are
    cast to the model's dtype and put on `device`, or where the model is; the layout of the
    channels stays as given.
    """
    explainer = as_explainer(explainer)

    def explain_func(
        model: nn.Module,
        inputs: Array | Tensor,
        targets: Array | Tensor | int | None = None,
        *,
        device: torch.device | str | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> Array:
        example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        place = example.device if device is None else torch.device(device)
        batch = torch.as_tensor(np.asarray(inputs)).to(place, example.dtype)
        labels = None if targets is None else torch.as_tensor(targets, device=place)
        result = explainer(model, batch, labels, extra=extra, create_graph=False)
        return np.asarray(result.cpu().numpy())

    return explain_func


def _single(inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if len(tensors) != 1:
        raise SurefootError(
            f"{len(tensors)} inputs came, expected one differentiated input; pass the others as "
            "additional_forward_args"
        )
    return (tensors[0],)


def _named(model: nn.Module, values: object) -> dict[str, Tensor] | None:
    """Further arguments by the names that the model's `forward` gives them."""
    if values is None:
        return None
    given: tuple[Any, ...] = values if isinstance(values, tuple) else (values,)
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if len(given) > len(names):
        raise SurefootError(
            f"{len(given)} additional_forward_args came, but {type(model).__name__}.forward names "
            f"{names} beside its input; give it named arguments"
        )
    return {name: value for name, value in zip(names, given, strict=False) if value is not None}


def _multiplies(explainer: Explainer) -> bool:
    base = getattr(explainer, "base", None)
    if isinstance(base, Explainer):
        return _multiplies(base)
    return isinstance(explainer, InputXGradient | IntegratedGradients | ExpectedGradients)
