"""Finding a layer by name and reading its output."""

import torch
from torch import Tensor, nn

from surefoot import gradients, turns
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.layers import layer_name


def find(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The module of that name in `model`, or the given module if it is one of the model's."""
    return model.get_submodule(layer_name(model, layer))


@torch.no_grad()
def outputs(request: Query, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """The first output of `layer` in one pass over the inputs, (N, ...), and the logits (N, K)."""
    seen: list[object] = []
    with turns.alone():  # another thread's pass would be seen, too
        handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            logits = gradients.forward(request.model, request.inputs, request.extra)
        finally:
            handle.remove()
    if not seen:
        raise SurefootError("the layer is not run by the model's forward pass; name another")
    output = seen[0]
    if not isinstance(output, Tensor) or len(output) != len(logits):
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise SurefootError(
            f"the layer returned {came}, expected a tensor with one row for each of the "
            f"{len(logits)} inputs; name another"
        )
    return output, logits
