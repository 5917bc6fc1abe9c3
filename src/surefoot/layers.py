"""A model's layers by name."""

import difflib

from torch import nn

from surefoot import programs
from surefoot.errors import SurefootError


def layer_name(model: nn.Module, layer: str | nn.Module) -> str:
    """The layer's name in `model`.

    Raises:
        SurefootError: no such layer; close matches are named. A layer inside a program made by
            torch.jit or torch.export, where nothing can be looked at.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    name = _name(model, modules, layer)
    for made in programs.around(modules, name):
        if made != "compiled":
            raise SurefootError(
                f"layer={layer!r} is inside a program that is {made} ({programs.MADE_BY[made]}), "
                "where nothing can be looked at; give the torch.nn.Module it was made of"
            )
    return name


def _name(model: nn.Module, modules: dict[str, nn.Module], layer: str | nn.Module) -> str:
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return name
        raise SurefootError(
            f"layer={type(layer).__name__}(...) is not a submodule of this model; pass its name"
        )
    for name in (layer, f"_orig_mod.{layer}"):  # the second by torch.compile
        if layer and name in modules:
            return name
    names = [name for name in modules if name]
    close = difflib.get_close_matches(str(layer), names, n=5, cutoff=0.3) or names[:8]
    raise SurefootError(
        f"layer={layer!r} is not a submodule of {type(model).__name__}; did you mean "
        f"{', '.join(map(repr, close)) or 'another model: this one has no submodules'}?"
    )
