"""Finding a layer by name and reading its output."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from surefoot.errors import SurefootError


def find(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The module of that name in `model`, or the given module if it is one of the model's."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        if not any(module is layer for module in modules.values()):
            raise SurefootError("layer is a module that is not part of the model; give its name")
        return layer
    if layer not in modules:
        close = (
            difflib.get_close_matches(str(layer), modules, n=3, cutoff=0.3) or list(modules)[1:4]
        )
        raise SurefootError(f"the model has no layer {layer!r}; close names: {', '.join(close)}")
    return modules[layer]


@contextmanager
def recorded(layer: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of `layer` while the context is open, detached, one an element."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise SurefootError(
                f"the layer returned a {type(output).__name__}, expected a tensor; name another"
            )
        outputs.append(output.detach().clone())

    handle = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()
