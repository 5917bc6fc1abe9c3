"""Which term of an objective drives the training."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from surefoot.train._base import Objective
from surefoot.train._batch import Batch, State


def influence(
    objective: Objective,
    model: nn.Module,
    inputs: Tensor,
    labels: int | Tensor,
    *,
    extra: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
    progress: float = 1.0,
    state: State = None,
) -> dict[str, float]:
    """How hard each term pulls: the norm of its weighted gradient in the parameters, by name.

    A term whose norm is far below the others' is inert, whatever its value. `.grad` is left alone.
    Arguments and errors are those of calling the objective.

    >>> from surefoot.train import JacobianRegularization
    >>> net = nn.Linear(2, 2)
    >>> list(influence(JacobianRegularization(), net, torch.rand(4, 2), torch.tensor([0, 1, 0, 1])))
    ['clean', 'jacobian']
    """
    objective.check()
    batch = Batch.of(model, inputs, labels, extra, generator, progress, state)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    with torch.inference_mode(False), torch.enable_grad():
        terms = objective.evaluate(batch).terms.items()
        return {name: _norm(weight * value, weights) for name, (weight, value) in terms}


def _norm(value: Tensor, weights: list[nn.Parameter]) -> float:
    found = torch.autograd.grad(value, weights, retain_graph=True, materialize_grads=True)
    return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in found))
