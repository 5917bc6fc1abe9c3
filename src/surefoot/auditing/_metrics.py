"""From what a user gives as metrics to measures: names, metrics, callables of one's own."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from surefoot import metric
from surefoot.auditing._measures import Measure, name_of, parameters
from surefoot.certify import Floor
from surefoot.errors import SurefootError
from surefoot.maps import norm, ratio, wide
from surefoot.metric import EXPLAINER, MAP, MASK, MODEL_ATTRIBUTIONS, MODEL_MAP, MOVED, PAIR, Metric
from surefoot.recipes import show

_KINDS = (MOVED, EXPLAINER, MODEL_MAP, MODEL_ATTRIBUTIONS, MASK, PAIR, MAP)
_WORDS = {word for kind in _KINDS for word in kind}
MAP_NORM, RELATIVE = "map_norm", "relative_sensitivity"


def measures(given: Any, attacked: bool) -> list[Measure]:
    """The metrics an audit was asked for, and the map's norm where one of them scales with it.

    Without attacks those that compare are left out.

    Raises:
        SurefootError: an unknown name, something that is no metric, the same twice, or nothing
            that can be measured without attacks.
    """
    if isinstance(given, str | Metric) or callable(given):
        given = [given]
    if isinstance(given, Mapping):
        found = [_measure(one, name) for name, one in given.items()]
    elif isinstance(given, Sequence):
        found = _told_apart([_measure(one) for one in given])
    else:
        raise SurefootError(
            f"metrics is a {type(given).__name__}, expected names, metrics or callables in a list, "
            "or a mapping from names to them"
        )
    asked = [measure.name for measure in found]
    found = [measure for measure in found if attacked or not measure.compares]
    if asked and not found:
        raise SurefootError(
            f"{', '.join(asked)} compare maps before and after an attack, but there are no attacks;"
            ' give attacks={"topk": ...}, or metrics of one map such as "gini"'
        )
    if any(measure.needs == MOVED for measure in found):
        found.append(Measure(MAP_NORM, Metric(map_norm, MAP, (0.0, float("inf")), True), False))
        relative = Metric(relative_sensitivity, MOVED, (0.0, float("inf")), False)
        found.append(Measure(RELATIVE, relative))
    names = [measure.name for measure in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise SurefootError(
            f"metrics holds {', '.join(map(repr, twice)) or 'nothing'}{' twice' * bool(twice)}; "
            'give each a name of its own: metrics={"top 10": metric.get("topk_intersection", k=10)}'
        )
    return found


def map_norm(a: Tensor) -> Tensor:
    """||a||_2 of each reduced map, (N,): what SS is to be read beside."""
    return norm(wide(a))


def relative_sensitivity(h: Tensor, h2: Tensor, images: Tensor, images2: Tensor) -> Tensor:
    """SS over the length of the clean map, (N,): what a smaller map does not lower by itself.

    NaN where the map is 0, or the input was not moved.
    """
    return ratio(metric.sensitivity(h, h2, images, images2), map_norm(h))


def _measure(one: Any, name: str | None = None) -> Measure:
    found, known = _metric(one)
    unknown = set(found.needs) - _WORDS
    if unknown:
        raise SurefootError(
            f"{show(one)} needs {sorted(unknown)}, which an audit does not have; expected words of "
            f"{sorted(_WORDS)}"
        )
    name = name_of(found.function) if name is None else name
    if not isinstance(name, str) or name in ("", "<lambda>"):
        raise SurefootError(
            f"the metric {show(one)} has no name; give it one: metrics={{'mine': ...}}"
        )
    return Measure(name, found, known)


def _metric(one: Any) -> tuple[Metric, bool]:
    """A metric, and whether its range and direction are known."""
    if isinstance(one, Metric):
        return one, True
    if isinstance(one, str):
        return metric.get(one), True
    if isinstance(one, Floor):
        return Metric(one, EXPLAINER, (0.0, 1.0), True), True
    if isinstance(one, functools.partial) and not one.args:
        inner, known = _metric(one.func)
        return replace(inner, options={**inner.options, **one.keywords}), known
    for registered in metric.REGISTRY.values():
        if registered.function is one:
            return registered, True
    if callable(one):
        return Metric(one, _needs(one), (-float("inf"), float("inf")), True), False
    raise SurefootError(
        f"{one!r} is not a metric; expected a name such as 'kendall', metric.get(name, **options) "
        "or a callable"
    )


def _needs(function: Callable[..., Any]) -> tuple[str, ...]:
    """What a callable of someone's own is to be given, by its parameters."""
    asked = tuple(
        name
        for name, one in parameters(function).items()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    )
    for kind in _KINDS:
        if asked[: len(kind)] == kind:
            return kind
    required = [n for n in asked if parameters(function)[n].default is inspect.Parameter.empty]
    if len(required) in (1, 2):
        return MAP if len(required) == 1 else PAIR
    raise SurefootError(
        f"the metric {show(function)} takes {asked}; name its parameters as one of "
        f"{[', '.join(kind) for kind in _KINDS]}, or give one map or two"
    )


def _told_apart(found: list[Measure]) -> list[Measure]:
    """Those of one name get their options into it."""
    names = [one.name for one in found]
    return [replace(m, name=m.recipe()) if names.count(m.name) > 1 else m for m in found]
