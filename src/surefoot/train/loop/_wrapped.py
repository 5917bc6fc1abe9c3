"""What Fabric wraps: strategy around a whole step, precision around each pass of the model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from surefoot.train._tokens import Wrapper

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Step(nn.Module):
    """The module that the strategy wraps: its forward pass is the objective, the whole of it.

    Attacks and explanations inside an objective run the model many times, a number that may differ
    between processes, and differentiate it with torch.autograd.grad, which DistributedDataParallel
    does not support. So these passes go through the bare model, out of the strategy's sight; only
    the backward pass of the step's loss reaches the hooks that average gradients over processes.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` gives, outside of the strategy's autocast."""
        kind = next(self.parameters()).device.type
        if not torch.is_autocast_enabled(kind):
            return compute()
        # Without the cache, which in some versions of PyTorch keeps weights cast under no_grad().
        with torch.autocast(kind, enabled=False, cache_enabled=False):
            return compute()


class Precise(Wrapper):
    """A model whose every pass is in Fabric's precision, with inputs and logits in float32.

    So that an attack's steps of 1/255, which bfloat16 cannot represent, are not rounded away.
    """

    def __init__(self, model: nn.Module, fabric: "Fabric") -> None:
        super().__init__()
        self.model = model
        self.precision = fabric.strategy.precision
        self.training = model.training

    def forward(self, inputs: Tensor, **extra: Tensor) -> Any:
        """Logits (N, K) of inputs (N, ...)."""
        inputs, extra = self.precision.convert_input((inputs, extra))
        with self.precision.forward_context():
            logits = self.model(inputs, **extra)
        return self.precision.convert_output(logits)


def in_precision(model: nn.Module, fabric: "Fabric") -> nn.Module:
    """The model as objectives get it: itself in full precision."""
    return model if precision_name(fabric) == "32-true" else Precise(model, fabric)


def for_scoring(model: nn.Module, fabric: "Fabric") -> nn.Module:
    """The model as validation gets it: in float32 if that is how its weights are kept."""
    return model if precision_name(fabric).endswith("-mixed") else in_precision(model, fabric)


def precision_name(fabric: "Fabric") -> str:
    """Such as "32-true" or "bf16-mixed"."""
    return str(getattr(fabric.strategy.precision, "precision", "32-true"))


def scalars(terms: Mapping[str, Tensor], fabric: "Fabric") -> dict[str, float]:
    """The means of the terms over the processes, as numbers."""
    names = list(terms)
    values = torch.stack([terms[name].detach().float() for name in names])
    return dict(zip(names, reduced(values, fabric, "mean").tolist(), strict=True))


def reduced(values: Tensor, fabric: "Fabric", how: str) -> Tensor:
    """The mean or the sum over the processes."""
    if fabric.world_size == 1:
        return values
    result: Any = fabric.all_reduce(values.to(fabric.device), reduce_op=how)
    return torch.as_tensor(result)
