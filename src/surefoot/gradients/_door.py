"""The door of a model: what explainers see as one input and logits is several, or more."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.gradients._calls import arranged
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
        args, named = arranged(model, (one,), extra)
        shape = checks.check_output(model(*args, **named))[0].shape
    return checks.check_indices(each, tuple(shape), samples).to(one.device)
