"""Code by name: `package.module:name`, there and back."""

import importlib
from operator import attrgetter
from typing import Any

from surefoot.errors import SurefootError
from surefoot.recipes._values import show


def import_path(value: Any) -> str:
    """`package.module:name`, checked to lead back to `value`.

    Raises:
        SurefootError: a lambda, a local function, a bound method, something of `__main__`.
    """
    module = getattr(value, "__module__", None)
    for name in (getattr(value, "__qualname__", None), getattr(value, "__name__", None)):
        path = f"{module}:{name}"
        if module not in (None, "__main__") and name and _leads_to(path) is value:
            return path
    raise SurefootError(
        f"{show(value)} cannot be stored: it has no import path (a lambda, a local function, an "
        "object, or something of __main__); define it at the top level of a module and import it"
    )


def import_object(path: str) -> Any:
    """What `package.module:name` names.

    Raises:
        SurefootError: there is no such module or name.
    """
    found = _leads_to(path)
    if found is None:
        raise SurefootError(
            f"{path!r} cannot be imported; expected 'package.module:name' of something that is "
            "installed here"
        )
    return found


def _leads_to(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError, TypeError):
        return None
