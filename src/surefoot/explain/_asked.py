"""What captum's callers pass, in this library's words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, gradients, paths, programs
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.explain._expected import ExpectedGradients
from surefoot.maps import Layout

Inputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Asked:
    """A call of captum's, translated.

    Attributes:
        model: what is called: a module, or a function as one.
        inputs: each (N, ...).
        target: as explainers take it.
        extra: further arguments by name.
        alone: whether one tensor came, no tuple.
        flat: whether inputs of one number a sample came, (N,).
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    target: Any
    extra: Mapping[str, Any]
    alone: bool
    flat: bool

    @classmethod
    def of(cls, function: Callable[..., Any], inputs: Any, target: Any, further: object) -> "Asked":
        model = _module(function)
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        for each in tensors:
            if not isinstance(each, Tensor):
                checks.check_inputs(each)
        flat = any(each.ndim == 1 for each in tensors)
        if flat:  # one number a sample
            model = _Adapted(model, narrow=True)
            tensors = tuple(each.unsqueeze(1) for each in tensors)
        values: tuple[Any, ...] = further if isinstance(further, tuple) else (further,)
        names = gradients.further_names(_module(function), len(tensors))
        if len(values) > len(names) and further is not None:
            raise SurefootError(
                f"{len(values)} additional_forward_args came, but {_name(function)} names {names} "
                f"beside its {len(tensors)} inputs; give it named arguments"
            )
        extra = {n: v for n, v in zip(names, values, strict=False) if v is not None}
        asked = cls(model, tensors, target, extra, not isinstance(inputs, tuple), flat)
        return asked.with_target()

    @property
    def given(self) -> Inputs:
        """The inputs as explainers take them."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    def with_target(self) -> "Asked":
        """Lists of numbers as tensors; an only output as the one class."""
        target = self.target
        if target is None or _only_zeros(target):
            output = self._output()
            if isinstance(output, Tensor) and (output.ndim == 1 or output.shape[1:] == (1,)):
                return replace(self, model=_Adapted(self.model, one_output=True), target=0)
        if isinstance(target, list) and not any(isinstance(each, tuple) for each in target):
            return replace(self, target=target if (labels := _tensor(target)) is None else labels)
        return self

    def _output(self) -> Any:
        """What the model gives; None where it fails, which the explainer will say in its words."""
        try:
            with torch.no_grad(), programs.evaluated(self.model):
                return self.model(*self.inputs, **self.extra)
        except Exception:
            return None

    def explained(
        self, explainer: Explainer, create_graph: bool | None, layout: Layout | None
    ) -> Inputs:
        """The maps in the form of the inputs."""
        with programs.evaluated(self.model):
            found = explainer(
                self.model,
                self.given,
                self.target,
                extra=self.extra or None,
                create_graph=create_graph,
                layout=layout,
            )
        return self.returned(found)

    def returned(self, found: Inputs) -> Inputs:
        """What is shaped like the inputs in the form in which they came."""
        each = found if isinstance(found, tuple) else (found,)
        if self.flat:
            each = tuple(one.squeeze(1) for one in each)
        return each[0] if self.alone else each

    def gaps(self, explainer: ExpectedGradients, layout: Layout | None) -> Tensor:
        """Each draw's gap, (N, samples)."""
        told = (self.model, self.given, self.target, self.extra or None, False, layout)
        with programs.evaluated(self.model):
            return explainer.gaps(gradients.query(*told, several=True))

    def points(self, given: Any) -> tuple[Tensor, ...]:
        """Numbers and tensors as tensors shaped like the inputs."""
        if callable(given):
            given = given(*self.inputs)
        each = given if isinstance(given, tuple) else (given,) * len(self.inputs)
        if len(each) != len(self.inputs):
            raise SurefootError(f"{len(each)} points came for {len(self.inputs)} inputs")
        pairs = zip(each, self.inputs, strict=True)
        return tuple(
            paths.resolve_baseline(0.0 if value is None else self._rows(value), at)
            for value, at in pairs
        )

    def baseline(self, given: Any) -> Any:
        """Baselines as explainers take them: one, or a tuple of one for each input."""
        if callable(given):
            given = given(*self.inputs) if signature(given).parameters else given()
        each = given if isinstance(given, tuple) else (given,)
        fitted = tuple(0.0 if value is None else self._rows(value) for value in each)
        return fitted[0] if len(fitted) == 1 else fitted

    def _rows(self, value: Any) -> Any:
        narrow = self.flat and isinstance(value, Tensor) and value.ndim == 1
        return value.unsqueeze(1) if narrow else value

    def scores(self, score: gradients.Score) -> Tensor:
        """The target's score at the inputs, (N,)."""
        with torch.no_grad(), programs.evaluated(self.model):
            request = gradients.query(
                self.model, self.given, self.target, self.extra or None, False, several=True
            )
            logits = gradients.predict(request.model, request.inputs, request.extra)
        return gradients.class_scores(logits, request.target, score)


def _only_zeros(target: Any) -> bool:
    labels = None if isinstance(target, tuple | list) else _tensor(target)
    return labels is not None and not labels.any()


def _tensor(target: Any) -> Tensor | None:
    """Classes as a tensor; None where they are none."""
    try:
        return torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        return None


class _Adapted(nn.Module):
    """A model of inputs (N,), given (N, 1), or one of outputs (N,) that gives (N, 1)."""

    def __init__(self, model: nn.Module, *, narrow: bool = False, one_output: bool = False) -> None:
        super().__init__()
        self.model, self.narrow, self.one_output = model, narrow, one_output
        self.training = False

    def forward(self, *inputs: Tensor, **extra: Any) -> Any:
        each = (one.squeeze(1) for one in inputs) if self.narrow else inputs
        output = self.model(*each, **extra)
        return output.reshape(-1, 1) if self.one_output else output


class _Function(nn.Module):
    """A function as a module; its signature is the function's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function
        self.training = False
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.owner = owner


def _module(function: Callable[..., Any]) -> nn.Module:
    if isinstance(function, nn.Module):
        return function
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module) and function == owner.forward:
        return owner
    return _Function(function)


def _name(function: Callable[..., Any]) -> str:
    inner = _module(function)
    if isinstance(inner, _Function):
        return getattr(function, "__name__", type(function).__name__)
    return f"{type(inner).__name__}.forward"
