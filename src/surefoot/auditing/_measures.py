"""Metrics as an audit uses them: each by name, with what it is given and when."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot import explain, metric
from surefoot.errors import SurefootError
from surefoot.explain._maps import Reduction
from surefoot.explain._recipe import show
from surefoot.metric import Metric
from surefoot.metric._inputs import norm, wide
from surefoot.metric._registry import (
    EXPLAINER,
    MAP,
    MASK,
    MODEL_ATTRIBUTIONS,
    MODEL_MAP,
    MOVED,
    PAIR,
)

Words = dict[str, Any]
Values = NDArray[np.float64]

_KINDS = (MOVED, EXPLAINER, MODEL_MAP, MODEL_ATTRIBUTIONS, MASK, PAIR, MAP)
_WORDS = {word for kind in _KINDS for word in kind}
_AFTER = {"b", "h2", "images2"}
# SF reads a map as shares of the picture; all others take it as it is.
_TAKE_HEATMAPS = {"saliency_fidelity"}
MAP_NORM = "map_norm"


@dataclass(frozen=True)
class Measure:
    """A metric with its name in the tables.

    Attributes:
        name: in the tables.
        metric: what is called, with `needs` in order.
        known: whether range and direction of `metric` are known.
    """

    name: str
    metric: Metric
    known: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """What the metric is given, in the words of the registry."""
        return self.metric.needs

    @property
    def compares(self) -> bool:
        """Whether it takes a map or an input from before and one from after an attack."""
        return bool(_AFTER & set(self.needs))

    @property
    def once(self) -> bool:
        """Whether it is of the explainer, and so measured on the clean inputs only."""
        return "explainer" in self.needs

    @property
    def higher_is_better(self) -> bool | None:
        """The direction; None where it is not known or there is none."""
        return self.metric.higher_is_better if self.known else None

    def ceiling(self) -> float:
        """The score of two identical maps; NaN for what does not compare two, or is not known."""
        if self.needs != PAIR or not self.known:
            return float("nan")
        return float(self.metric.range[1 if self.metric.higher_is_better else 0])

    def sees(self) -> str:
        """Which form of the map it is given."""
        if self.metric.name in _TAKE_HEATMAPS:
            return "heatmap"
        signed = {"attributions", "explainer"} & set(self.needs)
        return "attributions" if signed else "reduced"

    def fit(self, entries: int) -> "Measure":
        """The same, with k a tenth of the map where the metric's own default is more than it."""
        default = _parameters(self.metric.function).get("k")
        if default is None or "k" in self.metric.options:
            return self
        if not isinstance(default.default, int) or default.default <= entries:
            return self
        options = {**self.metric.options, "k": max(1, entries // 10)}
        return replace(self, metric=replace(self.metric, options=options))

    def facts(self) -> dict[str, Any]:
        """What the tables must know of it, as JSON has it: None where there is no number."""
        ends = [float(end) if np.isfinite(end) else None for end in self.metric.range]
        ceiling = self.ceiling()
        return {
            "metric": self.recipe(),
            "map": self.sees(),
            "range": ends,
            "higher_is_better": self.higher_is_better,
            "ceiling": None if np.isnan(ceiling) else ceiling,
        }

    def recipe(self) -> str:
        """Name of the function and its options."""
        options = ", ".join(f"{name}={show(v)}" for name, v in self.metric.options.items())
        return f"{_name(self.metric.function)}({options})"

    def __call__(self, words: Words, extra: Mapping[str, Tensor]) -> Values:
        """The metric of a batch, (n,)."""
        if self.metric.name in _TAKE_HEATMAPS:
            words = words | {"h": words["heatmap"]}
        asks = extra and "extra" in _parameters(self.metric.function)
        found = self.metric(*[words[n] for n in self.needs], **({"extra": extra} if asks else {}))
        samples = len(words["images"])
        if not isinstance(found, Tensor) or found.shape != (samples,):
            came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise SurefootError(f"it gave {came}, expected one number a sample, ({samples},)")
        return found.detach().to("cpu", torch.float64).numpy()


def words(attributions: Tensor, reduction: Reduction, **given: Any) -> Words:
    """What metrics of one map may ask for, by name."""
    reduced = explain.reduce(attributions, reduction)
    heat = explain.heatmap(attributions)
    return {"attributions": attributions, "a": reduced, "h": reduced, "heatmap": heat, **given}


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


def _measure(one: Any, name: str | None = None) -> Measure:
    found, known = _metric(one)
    unknown = set(found.needs) - _WORDS
    if unknown:
        raise SurefootError(
            f"{show(one)} needs {sorted(unknown)}, which an audit does not have; expected words of "
            f"{sorted(_WORDS)}"
        )
    name = _name(found.function) if name is None else name
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
        for name, one in _parameters(function).items()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    )
    for kind in _KINDS:
        if asked[: len(kind)] == kind:
            return kind
    required = [n for n in asked if _parameters(function)[n].default is inspect.Parameter.empty]
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


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
