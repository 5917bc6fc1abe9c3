"""An explainer from its text, without evaluating anything."""

import ast
import inspect
import math
from typing import Any, Literal, Never, get_args, get_origin, get_type_hints

from surefoot import explain
from surefoot.errors import SurefootError, suggest
from surefoot.explain._base import Explainer

_NUMBERS = {"inf": math.inf, "nan": math.nan}


def parse(text: str) -> Explainer:
    """The explainer that `text` describes: `parse(repr(e)) == e` unless it holds tensors or code.

    Understands constructors of `surefoot.explain`, one inside another, with literals as settings;
    a bare name means its defaults. Nothing is evaluated, so text of strangers is safe.

    Raises:
        SurefootError: anything else; the message names close matches or the settings there are.

    >>> parse("SmoothGrad(IntegratedGradients(steps=8), samples=10)")
    SmoothGrad(IntegratedGradients(steps=8, score='logit'), samples=10)
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        value = _value(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, SurefootError):
            raise
        raise SurefootError(f"cannot read {text[:80]!r}: {error}; {_EXAMPLE}") from None
    if not isinstance(value, Explainer):
        raise SurefootError(f"{text[:80]!r} is not an explainer; {_EXAMPLE}")
    return value


_EXAMPLE = "write it like SmoothGrad(Gradient(score='logit'), samples=20)"


def _value(node: ast.AST) -> Any:  # noqa: PLR0911 (one return a kind)
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _signed(sign, _value(operand), node)
        case ast.Tuple(elts=items):
            return tuple(map(_value, items))
        case ast.List(elts=items):
            return list(map(_value, items))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_value(k): _value(v) for k, v in zip(keys, values, strict=True) if k}
        case ast.Name(id=name):
            return _NUMBERS[name] if name in _NUMBERS else _build(name, [], {})
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return _call(name, args, keywords, node)
    return _refuse(node)


def _signed(sign: ast.AST, number: object, node: ast.AST) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        _refuse(node)
    return -number if isinstance(sign, ast.USub) else number


def _call(name: str, args: list[ast.expr], keywords: list[ast.keyword], node: ast.AST) -> Explainer:
    if name == "tensor":
        raise SurefootError(
            "a recipe with tensors cannot be read from text alone; store it with "
            "surefoot.explain.to_json and read it with from_json(text, tensors)"
        )
    named = {word.arg: word.value for word in keywords if word.arg is not None}
    if len(named) < len(keywords):
        _refuse(node)
    return _build(name, [_value(a) for a in args], {k: _value(v) for k, v in named.items()})


def _build(name: str, args: list[Any], settings: dict[str, Any]) -> Explainer:
    if name == "Function":
        raise SurefootError("a recipe with code cannot be read from text; build Function in Python")
    kind = find(name)
    built = construct(kind, args, settings)
    for setting, hint in get_type_hints(kind).items():
        _check_type(f"{name}'s {setting}", getattr(built, setting), hint)
    return built


def _check_type(who: str, value: object, hint: Any) -> None:
    """Raise where a setting written as text is of the wrong type, for the simple types."""
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise SurefootError(f"{who} is {value!r}; choose one of {list(get_args(hint))}")
    wanted = {int: (int,), float: (int, float), Explainer: (Explainer,)}.get(hint)
    if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
        raise SurefootError(f"{who} is {value!r}, expected {hint.__name__}")


def find(name: str) -> type[Explainer]:
    """The explainer class of that name; raises with close matches if there is none."""
    known = public()
    if name not in known:
        raise SurefootError(f"explainer {name!r} is unknown; {suggest(name, known)}")
    return known[name]


def construct(kind: type[Explainer], args: list[Any], settings: dict[str, Any]) -> Explainer:
    """`kind(*args, **settings)`, with an error that says which settings there are."""
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
    return kind(*args, **settings)


def public() -> dict[str, type[Explainer]]:
    """The explainer classes of `surefoot.explain`, by name."""
    named = {name: getattr(explain, name) for name in explain.__all__}
    return {
        name: kind
        for name, kind in named.items()
        if isinstance(kind, type) and issubclass(kind, Explainer) and not inspect.isabstract(kind)
    }


def _refuse(node: ast.AST) -> Never:
    raise SurefootError(
        f"{ast.unparse(node)!r} is not allowed in a recipe; expected explainers with each "
        "setting once, numbers, strings, True, False, None, tuples, lists and dicts"
    )
