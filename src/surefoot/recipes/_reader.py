"""Recipes from text, without evaluating anything: names with settings, one inside another."""

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, Never, get_args, get_origin, get_type_hints

from surefoot.errors import SurefootError, suggest

Kinds = Mapping[str, Callable[..., Any]]
Build = Callable[[Callable[..., Any], list[Any], dict[str, Any]], Any]

_NUMBERS = {"inf": math.inf, "nan": math.nan}


def construct(kind: Callable[..., Any], args: list[Any], settings: dict[str, Any]) -> Any:
    """`kind(*args, **settings)`, with an error that says which settings there are."""
    check_settings(kind, args, settings)
    return kind(*args, **settings)


def check_settings(kind: Callable[..., Any], args: list[Any], settings: dict[str, Any]) -> None:
    """Raise unless `kind` takes these arguments; the message names close matches."""
    signature = inspect.signature(kind)
    names = list(signature.parameters)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in settings:
        if name not in names and not open_ended:
            raise SurefootError(f"{kind.__name__} has no setting {name!r}; {suggest(name, names)}")
    try:
        signature.bind(*args, **settings)
    except TypeError as error:
        raise SurefootError(f"{kind.__name__}: {error}; its settings are {names}") from None


@dataclass(frozen=True)
class Reader:
    """Reads one sort of recipe: constructors by name, one inside another, with literals.

    A bare name means its defaults, and numbers may be fractions such as 4/255. Nothing is
    evaluated, so text of strangers is safe.

    Args:
        what: the sort, for messages, such as "explainer".
        known: what may be built, by name.
        example: a text that can be read, for messages.
        refused: why a name that looks as if it should be known is not.
        build: makes the value of a kind, its positional arguments and its settings.
    """

    what: str
    known: Kinds
    example: str
    refused: Mapping[str, str] = field(default_factory=dict)
    build: Build = construct

    def read(self, text: str) -> Any:
        """What `text` describes.

        Raises:
            SurefootError: it cannot be read; the message names close matches or the settings
                there are.
        """
        if not isinstance(text, str):
            raise SurefootError(
                f"{self.what} is a {type(text).__name__}, expected text such as {self.example}"
            )
        try:
            return self._value(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SurefootError):
                raise
            raise SurefootError(
                f"cannot read {text[:80]!r}: {error}; write it like {self.example}"
            ) from None

    def parse(self, text: str, kind: type | tuple[type, ...]) -> Any:
        """What `text` describes, if it is of that kind.

        Raises:
            SurefootError: it is not, or it cannot be read.
        """
        value = self.read(text)
        if not isinstance(value, kind):
            raise SurefootError(
                f"{text[:80]!r} is not an {self.what}; write it like {self.example}"
            )
        return value

    def find(self, name: str) -> Callable[..., Any]:
        """The kind of that name; raises with close matches if there is none."""
        if name not in self.known:
            raise SurefootError(f"{self.what} {name!r} is unknown; {suggest(name, self.known)}")
        return self.known[name]

    def _value(self, node: ast.AST) -> Any:  # noqa: PLR0911 (one return a kind)
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                number = self._number(operand, node)
                return -number if isinstance(sign, ast.USub) else number
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._fraction(left, right, node)
            case ast.Tuple(elts=items):
                return tuple(map(self._value, items))
            case ast.List(elts=items):
                return list(map(self._value, items))
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return {self._value(k): self._value(v) for k, v in pairs if k}
            case ast.Name(id=name):
                return _NUMBERS[name] if name in _NUMBERS else self._build(name, [], {})
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(name, args, keywords, node)
        return self._refuse(node)

    def _number(self, operand: ast.AST, node: ast.AST) -> float:
        number = self._value(operand)
        if isinstance(number, bool) or not isinstance(number, int | float):
            self._refuse(node)
        return number

    def _fraction(self, above: ast.AST, below: ast.AST, node: ast.AST) -> float:
        divisor = self._number(below, node)
        if divisor == 0:
            raise SurefootError(f"{ast.unparse(node)!r} divides by zero")
        return self._number(above, node) / divisor

    def _call(
        self, name: str, args: list[ast.expr], keywords: list[ast.keyword], node: ast.AST
    ) -> Any:
        named = {word.arg: word.value for word in keywords if word.arg is not None}
        if len(named) < len(keywords):
            self._refuse(node)
        values = {name: self._value(value) for name, value in named.items()}
        return self._build(name, [self._value(a) for a in args], values)

    def _build(self, name: str, args: list[Any], settings: dict[str, Any]) -> Any:
        if name in self.refused:
            raise SurefootError(self.refused[name])
        kind = self.find(name)
        built = self.build(kind, args, settings)
        if is_dataclass(kind) and isinstance(built, kind):
            for setting, hint in get_type_hints(kind).items():
                self._check_type(f"{name}'s {setting}", getattr(built, setting, None), hint)
        return built

    def _check_type(self, who: str, value: object, hint: Any) -> None:
        """Raise where a setting written as text is of the wrong type, for the simple types."""
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise SurefootError(f"{who} is {value!r}; choose one of {list(get_args(hint))}")
        wanted = {int: (int,), float: (int, float)}.get(hint) or self._nested(hint)
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise SurefootError(f"{who} is {value!r}, expected {hint.__name__}")

    def _nested(self, hint: Any) -> tuple[type, ...]:
        """The hint, if it is a class of things that can be built here."""
        if not isinstance(hint, type) or hint is object:
            return ()
        kinds = [kind for kind in self.known.values() if isinstance(kind, type)]
        return (hint,) if any(issubclass(kind, hint) for kind in kinds) else ()

    def _refuse(self, node: ast.AST) -> Never:
        raise SurefootError(
            f"{ast.unparse(node)!r} is not allowed in a recipe; expected {self.what}s with each "
            "setting once, numbers, strings, True, False, None, tuples, lists and dicts"
        )
