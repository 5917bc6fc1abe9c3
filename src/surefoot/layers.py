"""A model's layers by name."""

import difflib

from torch import nn

from surefoot.errors import SurefootError


def layer_name(model: nn.Module, layer: str | nn.Module) -> str:
    """The layer's name in `model`.

    Raises:
        SurefootError: no such layer; close matches are named.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return str(name)
        raise SurefootError(
            f"layer={type(layer).__name__}(...) is not a submodule of this model; pass its name"
        )
    if layer in modules and layer:
        return str(layer)
    names = [name for name in modules if name]
    close = difflib.get_close_matches(str(layer), names, n=5, cutoff=0.3) or names[:8]
    raise SurefootError(
        f"layer={layer!r} is not a submodule of {type(model).__name__}; did you mean "
        f"{', '.join(map(repr, close)) or 'another model: this one has no submodules'}?"
    )
