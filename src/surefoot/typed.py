"""What is given is of the kind that its annotation says, or an error says so before any work."""

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor, nn

from surefoot.errors import SurefootError

Function = TypeVar("Function", bound=Callable[..., Any])
_NUMBERS = (int, float, np.integer, np.floating)
_BEYOND = 2**63  # whole numbers that no tensor counts to; seeds may be larger


def check_kinds(who: str, given: Mapping[str, object], hints: Mapping[str, Any]) -> None:
    """Raise unless each value is of its hint's kind; what cannot be told by its class passes.

    Whole numbers are numbers, NumPy's are as good as Python's; bools are none.

    >>> check_kinds("Gradient", {"chunk": "3"}, {"chunk": int | None})
    Traceback (most recent call last):
    surefoot.errors.SurefootError: Gradient: chunk='3', expected a whole number or None
    """
    for name, value in given.items():
        hint = hints.get(name, Any)
        if not _fits(value, hint):
            text = repr(value) if isinstance(value, str | int | float) else type(value).__name__
            raise SurefootError(f"{who}: {name}={text}, expected {_words(hint)}")
        if _beyond(value, hint) and not name.endswith("seed"):
            raise SurefootError(f"{who}: {name}={value}, expected a number below 2**63")


def typed(function: Function, leave: int = 0) -> Function:
    """The function, its arguments after the first `leave` checked against their annotations."""
    signature = inspect.signature(function)
    names = list(signature.parameters)[leave:]
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def checked(*given: Any, **options: Any) -> Any:
        if not hints:
            hints.update(get_type_hints(function))
        try:
            told = signature.bind(*given, **options).arguments
        except TypeError:  # the function says it in its own name
            return function(*given, **options)
        chosen = {name: told[name] for name in names if name in told}
        check_kinds(function.__name__, chosen, hints)
        return function(*given, **options)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked  # type: ignore[return-value]


def _fits(value: object, hint: Any) -> bool:  # noqa: PLR0911 (one return a kind)
    kind = get_origin(hint) or hint
    if kind in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if kind is Literal:  # which words there are, those know best who read them
        return isinstance(value, str) or any(value is one for one in get_args(hint))
    if kind in (None, type(None)):
        return value is None
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, _NUMBERS) and not isinstance(value, bool)
    if kind is Sequence:
        one = (get_args(hint) or (Any,))[0]
        plain = isinstance(value, Sequence) and not isinstance(value, str)
        return plain and all(_fits(item, one) for item in cast("Sequence[object]", value))
    if kind in (str, Tensor, nn.Module, Path, dict) or kind in (Mapping, Callable):
        return callable(value) if kind is Callable else isinstance(value, kind)
    if kind is tuple:
        return _is_tuple(value, get_args(hint))
    return True


def _beyond(value: object, hint: Any) -> bool:
    """Whether it is a whole number of something, and larger than any."""
    fractions = any(kind is float for kind in (hint, *get_args(hint)))
    return isinstance(value, int) and not fractions and abs(value) >= _BEYOND


def _is_tuple(value: object, hints: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple | list):
        return False
    if len(hints) == 2 and hints[1] is Ellipsis:
        return all(_fits(item, hints[0]) for item in value)
    return not hints or (len(value) == len(hints) and all(map(_fits, value, hints)))


def _words(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, get_args(hint))))
    if kind is Literal:
        return f"one of {list(get_args(hint))}"
    plain = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    plain |= {type(None): "None", Tensor: "a tensor", tuple: "a tuple", Sequence: "a sequence"}
    return plain.get(kind, getattr(kind, "__name__", str(kind)))
