"""Metrics as an audit uses them: each by name, with what it is given and when."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surefoot import explain
from surefoot.errors import SurefootError
from surefoot.maps import Count, Layout, Reduction
from surefoot.metric import PAIR, Metric
from surefoot.recipes import show

Words = dict[str, Any]
Values = NDArray[np.float64]

_AFTER = {"b", "h2", "images2"}
# SF reads a map as shares of the picture; all others take it as it is.
_TAKE_HEATMAPS = {"saliency_fidelity"}


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

    def fit(self, entries: int, k: Count | None) -> "Measure":
        """The same with a k, if it takes one and none is given.

        It is the attacks' `k` if it compares two maps; else a tenth of the map where its own
        default is more than there is.
        """
        own = parameters(self.metric.function).get("k")
        if own is None or "k" in self.metric.options:
            return self
        if k is None or self.needs != PAIR:
            if not isinstance(own.default, int) or own.default <= entries:
                return self
            k = max(1, entries // 10)
        return replace(self, metric=replace(self.metric, options={**self.metric.options, "k": k}))

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
        return f"{name_of(self.metric.function)}({options})"

    def __call__(
        self, words: Words, extra: Mapping[str, Tensor], layout: Layout | None = None
    ) -> Values:
        """The metric of a batch, (n,)."""
        if self.metric.name in _TAKE_HEATMAPS:
            words = words | {"h": explain.heatmap(words["attributions"], layout=layout)}
        taken = parameters(self.metric.function)
        more = {"extra": dict(extra) or None, "layout": layout}
        asked = {name: value for name, value in more.items() if value and name in taken}
        found = self.metric(*[words[n] for n in self.needs], **asked)
        samples = len(words["images"])
        if not isinstance(found, Tensor) or found.shape != (samples,):
            came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise SurefootError(f"it gave {came}, expected one number a sample, ({samples},)")
        return found.detach().cpu().double().numpy()


def words(
    attributions: Tensor, reduction: Reduction, layout: Layout | None = None, **given: Any
) -> Words:
    """What metrics of one map may ask for, by name."""
    reduced = explain.reduce(attributions, reduction, layout)
    return {"attributions": attributions, "a": reduced, "h": reduced, **given}


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """By name; none where they are not known, as of some functions written in C."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
