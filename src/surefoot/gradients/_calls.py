"""A model's own signature: which argument is which, and what is missing or unknown."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from surefoot.errors import SurefootError, suggest

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def arranged(
    model: nn.Module, inputs: Sequence[Tensor], extra: Mapping[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call: the inputs go where `extra` leaves room.

    They stand in the order of the model's signature; where `extra` names one of the first
    arguments, the inputs are the ones after it. A model that `arranges` does so by itself.
    """
    if extra and not getattr(model, "arranges", False):
        names = free_names(model, extra)
        first = [p.name for p in _parameters(model)[: len(inputs)] if p.kind in _NAMED]
        if any(name in extra for name in first) and len(names) >= len(inputs):
            return (), {**dict(zip(names, inputs, strict=False)), **extra}
    return tuple(inputs), dict(extra)


def free_names(model: nn.Module, extra: Mapping[str, Any]) -> list[str]:
    """The names of the arguments that `extra` does not give, in the order of the signature."""
    named = (p.name for p in _parameters(model) if p.kind in _NAMED)
    return [name for name in named if name not in extra]


def further_names(model: nn.Module, given: int = 1) -> list[str]:
    """The names of the arguments after so many positional ones.

    >>> class Two(nn.Module):
    ...     def forward(self, image, table, scale=1.0): ...
    >>> further_names(Two()), further_names(Two(), 2)
    (['table', 'scale'], ['scale'])
    """
    return free_names(model, {})[given:]


def check_call(model: nn.Module, inputs: int, extra: Mapping[str, Any]) -> None:
    """Raise, naming it, where the model takes no such argument, or needs one that is not there."""
    parameters = _parameters(model)
    kinds = {p.kind for p in parameters}
    names = [p.name for p in parameters if p.kind in _NAMED]
    who = f"{type(_inner(model)).__name__}.forward"
    unknown = [name for name in extra if name not in names]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise SurefootError(
            f"extra holds {unknown[0]!r}, which {who} does not take; " + suggest(unknown[0], names)
        )
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return
    room = [p for p in parameters if p.name not in extra and p.kind not in _SOAK]
    if len(room) < inputs and parameters:
        raise SurefootError(
            f"{inputs} inputs came beside extra={sorted(extra)}, but {who} takes {names}; leave "
            "out of extra what is explained"
        )
    missing = [p.name for p in room[inputs:] if p.default is inspect.Parameter.empty]
    if missing:
        raise SurefootError(
            f"{who} also needs {', '.join(map(repr, missing))}; pass it as "
            f"extra={{{missing[0]!r}: ...}}, or explain several inputs together as a tuple in the "
            f"order of {names}"
        )


_SOAK = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    """Of `forward`; of what a wrapper wraps, where its own say nothing. None if not known."""
    try:
        found = list(inspect.signature(_inner(model).forward).parameters.values())
    except (TypeError, ValueError):
        return []
    return found


def _inner(model: nn.Module) -> nn.Module:
    """The module that names the arguments: a wrapper of (*args, **kwargs) names none."""
    while True:
        try:
            parameters = inspect.signature(model.forward).parameters.values()
        except (TypeError, ValueError):
            return model
        inner = (getattr(model, name, None) for name in ("module", "_orig_mod", "model"))
        wrapped = next((one for one in inner if one is not None), None)  # it may have no len()
        if any(p.kind in _NAMED for p in parameters) or not isinstance(wrapped, nn.Module):
            return model
        model = wrapped
