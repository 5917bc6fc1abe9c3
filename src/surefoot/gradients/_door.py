"""The door of a model: what explainers see as one input and logits is several, or more."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.errors import SurefootError
from surefoot.gradients._calls import arranged
from surefoot.gradients._run import are_independent, has_one_output, run
from surefoot.maps import Parts


class Door(nn.Module):
    """A model with further arguments given, several inputs in one, or outputs in one row.

    Parameters, buffers and submodules are the model's own, under the same names.

    Args:
        model: what is called.
        parts: how rows (N, F) become its inputs; None leaves the one input alone.
        given: further arguments that are the same for all samples.
        flat: whether outputs (N, ...) become rows (N, K).
    """

    def __init__(
        self,
        model: nn.Module,
        parts: Parts | None = None,
        given: Mapping[str, Any] | None = None,
        *,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.parts, self.given, self.flat = parts, dict(given or {}), flat
        self.training = model.training
        self._parameters, self._buffers = model._parameters, model._buffers
        self._modules = model._modules
        self._original = (model,)  # in a tuple, else it would become a submodule

    @property
    def model(self) -> nn.Module:
        """The original, never changed."""
        return self._original[0]

    def forward(self, inputs: Tensor, **extra: Any) -> Any:
        """The model's output, or its rows."""
        each = (inputs,) if self.parts is None else self.parts.split(inputs)
        args, named = arranged(self.model, each, {**self.given, **extra})
        output = self.model(*args, **named)
        return output.flatten(1) if self.flat else output


def is_flat(model: nn.Module) -> bool:
    """Whether a model, or one that it wraps, gives outputs (N, ...) as rows."""
    while isinstance(model, nn.Module):
        if isinstance(model, Door) and model.flat:
            return True
        model = getattr(model, "model", None)  # type: ignore[assignment]
    return False


def check_score(model: nn.Module, score: str) -> None:
    """Raise where a score compares classes and the model's outputs are none, or not exclusive."""
    if score != "logit" and (are_independent(model) or has_one_output(model)):
        raise SurefootError(
            f"score={score!r} compares classes that exclude each other, which this model's outputs "
            'are not; use score="logit", or explain one of them against its absence: '
            "surefoot.models.Classifier(net, output=lambda found: "
            "surefoot.models.binary(found[:, 3]))"
        )
    if score != "logit" and is_flat(model):
        raise SurefootError(
            f"score={score!r} compares classes, but the target has several indices; use "
            'score="logit", or wrap the model so that it gives the classes meant: '
            "surefoot.models.Classifier(model, output=lambda found: found[:, :, 3, 5])"
        )


def flat_target(
    model: nn.Module, target: object, one: Tensor, extra: Mapping[str, Any], samples: int
) -> Tensor:
    """Targets of several indices as classes (N,) of the flattened output.

    Args:
        model: from inputs to outputs (N, ...).
        target: a tuple of indices for all samples, or a list of one for each.
        one: the first input (1, ...).
        extra: of it.
        samples: N.

    Raises:
        SurefootError: the number of indices, or one of them, does not fit the output.
    """
    each = [target] * samples if isinstance(target, tuple) else target
    with torch.no_grad():
        output = run(model, one, extra)
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise SurefootError(
            f"target={target!r} are indices into an output (N, ...), but the model returned a "
            f"{type(output).__name__}; pick a tensor out of it with "
            'surefoot.models.Classifier(model, output="name")'
        )
    shape = tuple(output.shape[1:])
    return torch.tensor(_raveled(each, shape, samples), device=one.device)


def _raveled(target: Any, shape: tuple[int, ...], samples: int) -> list[int]:
    """Each sample's indices into one output as one number."""
    if len(target) != samples:
        raise SurefootError(f"{len(target)} targets came for {samples} inputs")
    for one in target:
        if not all(_is_whole(i) for i in one) or len(one) != len(shape):
            raise SurefootError(
                f"target {one!r} does not fit outputs (N, {', '.join(map(str, shape))}); expected "
                f"{len(shape)} whole numbers, one for each dimension after the first"
            )
        if not all(-size <= i < size for i, size in zip(one, shape, strict=True)):
            raise SurefootError(f"target {one!r} is outside outputs of shape {shape}")
    return [_number(one, shape) for one in target]


def _is_whole(index: object) -> bool:
    return hasattr(index, "__index__") and not isinstance(index, bool)


def _number(indices: Sequence[int], shape: Sequence[int]) -> int:
    number = 0
    for index, size in zip(indices, shape, strict=True):
        number = number * size + int(index) % size
    return number


class OneOf(nn.Module):
    """A model of several inputs seen from one of them; the others stand still.

    Parameters, buffers and submodules are the model's own, under the same names. The rows (N, F)
    of all inputs come as the further argument `OTHERS`.

    Args:
        door: of the several inputs.
        parts: how its rows are made up.
        number: of the input.
    """

    OTHERS = "_others"

    def __init__(self, door: nn.Module, parts: Parts, number: int) -> None:
        super().__init__()
        self.parts, self.number = parts, number
        self.training = door.training
        self._parameters, self._buffers = door._parameters, door._buffers
        self._modules = door._modules
        self._original = (door,)

    @property
    def model(self) -> nn.Module:
        """The door, never changed."""
        return self._original[0]

    def forward(self, inputs: Tensor, **extra: Any) -> Any:
        """The model's output where this input is `inputs`."""
        each = list(self.parts.split(extra.pop(self.OTHERS)))
        each[self.number] = inputs
        return self.model(self.parts.join(each), **extra)
