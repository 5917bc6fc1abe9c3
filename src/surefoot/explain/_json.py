"""Explainers in JSON: nested objects with a "type"; tensors by digest, code by import path."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.explain._parse import construct, find, public
from surefoot.explain._recipe import digest, import_object, import_path, plain, show


def to_json(explainer: Explainer) -> str:
    """The explainer with all its settings as JSON text.

    A tensor is stored by its digest alone (`tensors` gives the tensors themselves), a callable
    or a class by its import path.

    Raises:
        SurefootError: a setting is a lambda, a local function, a module or another object that
            cannot be found again.

    >>> from surefoot.explain import Gradient
    >>> to_json(Gradient())
    '{"type": "Gradient", "score": "logit"}'
    """
    return json.dumps(_encode(explainer), allow_nan=False)


def from_json(text: str, tensors: Mapping[str, Tensor] | None = None) -> Explainer:
    """The explainer that `to_json` stored.

    Callables and explainers of other packages are imported by the path in the text, so read only
    text that you trust as much as you trust those packages (`parse` has no such limit).

    Args:
        text: what `to_json` returned.
        tensors: the tensors it holds, by digest, as `surefoot.explain.tensors` gives them.

    Raises:
        SurefootError: not such a text; a tensor is missing or has changed; an import path leads
            nowhere.
    """
    try:
        value = _decode(json.loads(text), tensors or {})
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise SurefootError(
            f"cannot read an explainer from this JSON ({error!r}); expected to_json's text"
        ) from error
    if not isinstance(value, Explainer):
        raise SurefootError(f"the JSON holds {show(value)}, expected an explainer")
    return value


def tensors(explainer: Explainer) -> dict[str, Tensor]:
    """Every tensor among the settings, nested ones included, by digest."""
    found: dict[str, Tensor] = {}
    _collect(explainer, found)
    return found


def _collect(value: object, found: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[digest(value)] = value
    elif isinstance(value, Explainer):
        _collect(list(_stored(value).values()), found)
    elif isinstance(value, Mapping):
        _collect([*value.keys(), *value.values()], found)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, found)


def _stored(explainer: Explainer) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(explainer) if f.repr]
    return {name: getattr(explainer, name) for name in names}


def _encode(value: object) -> Any:  # noqa: PLR0911 (one return a kind)
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "float", "value": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, tuple):
        return {"type": "tuple", "items": [_encode(item) for item in value]}
    if isinstance(value, Mapping):
        return {"type": "dict", "items": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if isinstance(value, Tensor):
        return {"type": "tensor", "digest": digest(value), "shape": list(value.shape)}
    if isinstance(value, Explainer):
        return {"type": _type_name(value)} | {k: _encode(v) for k, v in _stored(value).items()}
    return {"type": "import", "path": import_path(_importable(value))}


def _importable(value: object) -> object:
    if isinstance(value, nn.Module):
        raise SurefootError(
            f"the module {show(value)} cannot be stored; give its name in the model, as a string"
        )
    return value


def _type_name(explainer: Explainer) -> str:
    kind = type(explainer)
    name = kind.__name__
    return name if public().get(name) is kind else import_path(kind)


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: PLR0911 (as above)
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    rest = dict(value)
    kind = rest.pop("type")
    if kind == "float":
        return float(rest["value"])
    if kind == "tuple":
        return tuple(_decode(rest["items"], tensors))
    if kind == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in rest["items"]}
    if kind == "tensor":
        return _find(rest["digest"], tensors)
    if kind == "import":
        return import_object(rest["path"])
    settings = {name: _decode(setting, tensors) for name, setting in rest.items()}
    return construct(_explainer_class(kind), [], settings)


def _find(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise SurefootError(
            f"the recipe holds the tensor {name}, which is not among the {len(tensors)} given; "
            "pass tensors={digest: tensor}, as surefoot.explain.tensors gave them"
        )
    if digest(tensors[name]) != name:
        raise SurefootError(f"the tensor given as {name} has changed: {digest(tensors[name])}")
    return tensors[name]


def _explainer_class(name: str) -> type[Explainer]:
    kind = import_object(name) if ":" in name else find(name)
    if not (isinstance(kind, type) and issubclass(kind, Explainer)):
        raise SurefootError(f"{name!r} is not an explainer class")
    return kind
