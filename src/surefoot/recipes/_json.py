"""Recipes in JSON: nested objects with a "type"; tensors by digest, code by import path."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from surefoot.errors import SurefootError
from surefoot.recipes._imports import import_object, import_path
from surefoot.recipes._reader import construct
from surefoot.recipes._recipe import Recipe
from surefoot.recipes._values import digest, plain, show

Find = Callable[[str], Callable[..., Any]]


def to_json(recipe: Recipe) -> str:
    """The recipe with all its settings as JSON text.

    A tensor is stored by its digest alone (`tensors` gives the tensors themselves), a callable
    or a class by its import path.

    Raises:
        SurefootError: a setting is a lambda, a local function, a module or another object that
            cannot be found again.

    >>> from surefoot.explain import Gradient
    >>> to_json(Gradient())
    '{"type": "Gradient", "score": "logit"}'
    """
    return json.dumps(_encode(recipe), allow_nan=False)


def from_json(
    text: str,
    tensors: Mapping[str, Tensor] | None,
    find: Find,
    what: str,
    roots: tuple[type[Recipe], ...],
) -> Any:
    """The recipe that `to_json` stored; `find` knows the names of its sort, `what`."""
    try:
        value = _Decoder(tensors or {}, find, what).decode(json.loads(text))
    except SurefootError:
        raise
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise SurefootError(
            f"cannot read an {what} from this JSON ({error!r}); expected to_json's text"
        ) from error
    if not isinstance(value, roots):
        raise SurefootError(f"the JSON holds {show(value)}, expected an {what}")
    return value


def tensors(recipe: Recipe) -> dict[str, Tensor]:
    """Every tensor among the settings, nested ones included, by digest.

    >>> import torch
    >>> from surefoot.explain import IntegratedGradients
    >>> len(tensors(IntegratedGradients(baseline=torch.zeros(1, 4))))
    1
    """
    found: dict[str, Tensor] = {}
    _collect(recipe, found)
    return found


def _collect(value: object, found: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[digest(value)] = value
    elif isinstance(value, Recipe):
        _collect(list(_stored(value).values()), found)
    elif isinstance(value, Mapping):
        _collect([*value.keys(), *value.values()], found)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, found)


def _stored(recipe: Recipe) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(recipe) if f.repr]
    return {name: getattr(recipe, name) for name in names}


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
    if isinstance(value, Recipe):
        return {"type": _type_name(value)} | {k: _encode(v) for k, v in _stored(value).items()}
    return {"type": "import", "path": import_path(_importable(value))}


def _importable(value: object) -> object:
    if isinstance(value, nn.Module):
        raise SurefootError(
            f"the module {show(value)} cannot be stored; give its name in the model, as a string"
        )
    return value


def _type_name(recipe: Recipe) -> str:
    kind = type(recipe)
    return kind.__name__ if kind.is_known() else import_path(kind)


@dataclasses.dataclass(frozen=True)
class _Decoder:
    tensors: Mapping[str, Tensor]
    find: Find
    what: str

    def decode(self, value: Any) -> Any:  # noqa: PLR0911 (one return a kind)
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        rest = dict(value)
        kind = rest.pop("type")
        if kind == "float":
            return float(rest["value"])
        if kind == "tuple":
            return tuple(self.decode(rest["items"]))
        if kind == "dict":
            return {self.decode(k): self.decode(v) for k, v in rest["items"]}
        if kind == "tensor":
            return self._tensor(rest["digest"])
        if kind == "import":
            return import_object(rest["path"])
        settings = {name: self.decode(setting) for name, setting in rest.items()}
        return construct(self._kind(kind), [], settings)

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise SurefootError(
                f"the recipe holds the tensor {name}, which is not among the {len(self.tensors)} "
                "given; pass tensors={digest: tensor}, as surefoot.explain.tensors gave them"
            )
        if digest(self.tensors[name]) != name:
            raise SurefootError(
                f"the tensor given as {name} has changed: {digest(self.tensors[name])}"
            )
        return self.tensors[name]

    def _kind(self, name: str) -> type[Recipe]:
        kind = import_object(name) if ":" in name else self.find(name)
        if not (isinstance(kind, type) and issubclass(kind, Recipe)):
            raise SurefootError(f"{name!r} is not an {self.what} class")
        return kind
