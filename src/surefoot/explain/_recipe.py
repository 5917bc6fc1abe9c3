"""An explainer as text and as a value: the repr that is its recipe, equality, import paths."""

import dataclasses
import hashlib
import importlib
from collections.abc import Hashable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from surefoot.errors import SurefootError

if TYPE_CHECKING:
    from surefoot.explain._base import Explainer

_ALWAYS_SHOWN = ("score", "layer")


def describe(explainer: "Explainer") -> str:
    """`Name(setting=value, ...)`: the settings that differ from their default.

    `score`, `layer` and wrapped explainers always show. A first setting that has no default or
    is an explainer is written without its name. `surefoot.explain.parse` reads the text back.
    """
    declared = {f.name: f for f in dataclasses.fields(explainer)}
    first = next((name for name, f in declared.items() if not f.kw_only), None)
    words = []
    for name, value in explainer.settings().items():
        default = _default(declared.get(name))
        wanted = default is dataclasses.MISSING or hasattr(value, "settings")
        if wanted or name in _ALWAYS_SHOWN or freeze(default) != freeze(value):
            words.append(show(value) if wanted and name == first else f"{name}={show(value)}")
    return f"{type(explainer).__name__}({', '.join(words)})"


def _default(declared: "dataclasses.Field[Any] | None") -> Any:
    if declared is None or declared.default_factory is dataclasses.MISSING:
        return declared.default if declared else dataclasses.MISSING
    return declared.default_factory()


def show(value: object) -> str:  # noqa: PLR0911 (one return a kind)
    """One setting as text: a literal, a digest, or an import path in angle brackets."""
    value = plain(value)
    if isinstance(value, Tensor):
        return f"tensor('sha256:{digest(value)[7:19]}', shape={tuple(value.shape)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' * (len(value) == 1)})"
    if isinstance(value, nn.Module):
        return f"<{type(value).__module__}:{type(value).__qualname__}>"
    if callable(value) and not hasattr(value, "settings"):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"<{getattr(value, '__module__', None)}:{name}>"
    return repr(value)


def plain(value: object) -> object:
    """NumPy numbers as Python numbers; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def freeze(value: object) -> Hashable:
    """A hashable stand-in for a setting: equal settings, tensors included, freeze equal."""
    value = plain(value)
    if isinstance(value, Tensor):
        return ("tensor", digest(value))
    if isinstance(value, Mapping):
        return ("mapping", frozenset((freeze(k), freeze(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(freeze, value))
    if isinstance(value, Hashable):
        try:
            hash(value)
        except TypeError:
            return ("object", id(value))
        return value
    return ("object", id(value))


def key(explainer: "Explainer") -> Hashable:
    """What equality and hash of explainers go by: the class and every setting that compares."""
    compared = [f.name for f in dataclasses.fields(explainer) if f.compare]
    return (type(explainer), *(freeze(getattr(explainer, name)) for name in compared))


def digest(tensor: Tensor) -> str:
    """`sha256:...` of a tensor's dtype, shape and bytes; the device does not matter.

    >>> digest(torch.zeros(2))[:15]
    'sha256:4016bdf5'
    """
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    head = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} "
    return f"sha256:{hashlib.sha256(head.encode() + _bytes(flat)).hexdigest()}"


def _bytes(flat: Tensor) -> bytes:
    return flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""


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
