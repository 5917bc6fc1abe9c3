"""JSON with a schema: one way to read it, one kind of error, naming the file and the entry."""

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from surefoot.errors import SurefootError
from surefoot.files._bounded import LARGEST_TEXT, read_bytes

# Entries by name, each with its type; a name that ends in "?" may be missing.
Schema = Mapping[str, Any]


def read_json(path: str | Path, schema: Schema | None = None) -> dict[str, Any]:
    """The JSON object in a file, its entries of the schema's types; others are let through.

    Raises:
        SurefootError: it cannot be read, is no JSON object, or an entry is missing or of another
            type.
    """
    value = parse_json(read_bytes(path, LARGEST_TEXT), path)
    if not isinstance(value, dict):
        raise SurefootError(f"{path} holds a JSON {_kind(value)}, expected an object {{...}}")
    if schema is not None:
        check_entries(value, schema, path)
    return value


def parse_json(content: str | bytes, path: object) -> Any:
    """What JSON text says, whatever it is.

    Raises:
        SurefootError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise SurefootError(f"cannot read {path}: its JSON is nested too deep") from error
    except ValueError as error:
        raise SurefootError(f"cannot read {path}: it is no JSON ({error})") from error


def check_entries(value: Mapping[str, Any], schema: Schema, path: object) -> None:
    """Raise unless the entries that the schema names are there and of its types.

    >>> check_entries({"step": 3, "figures": {"accuracy": 0.5}}, {"step": int}, "a.json")
    >>> check_entries({"step": "3"}, {"step": int}, "a.json")
    Traceback (most recent call last):
    surefoot.errors.SurefootError: a.json: step is '3', expected int
    """
    for named, hint in schema.items():
        name = named.removesuffix("?")
        if name in value:
            _check(value[name], hint, name, path)
        elif name == named:
            raise SurefootError(f"{path}: {name} is missing, expected {_words(hint)}")


def _check(value: Any, hint: Any, name: str, path: object) -> None:
    if isinstance(hint, Mapping):
        _check(value, dict, name, path)
        check_entries(value, {f"{key}": one for key, one in hint.items()}, f"{path}: {name}")
        return
    if not _fits(value, hint):
        raise SurefootError(f"{path}: {name} is {_short(value)}, expected {_words(hint)}")
    kind, inner = get_origin(hint), get_args(hint)
    if kind is list:
        for place, one in enumerate(value):
            _check(one, inner[0], f"{name}[{place}]", path)
    elif kind is dict:
        for key, one in value.items():
            _check(one, inner[1], f"{name}.{key}", path)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, not looking into lists and objects."""
    if hint is Any:
        return True
    kind = get_origin(hint) or hint
    if kind in (Union, types.UnionType):
        return any(_whole(value, one) for one in get_args(hint))
    if kind is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(hint))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if kind in (None, type(None)) else isinstance(value, kind)


def _whole(value: Any, hint: Any) -> bool:
    try:
        _check(value, hint, "", "")
    except SurefootError:
        return False
    return True


def _words(hint: Any) -> str:
    if isinstance(hint, Mapping):
        return "an object"
    if get_origin(hint) is not None or not isinstance(hint, type):
        return str(hint).replace("typing.", "")
    return hint.__name__


def _kind(value: object) -> str:
    return {list: "list", str: "text", type(None): "null"}.get(type(value), type(value).__name__)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
