"""The metrics by name, with what a table or an audit must know of each."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor

from surefoot.docstrings import completed
from surefoot.errors import SurefootError, suggest
from surefoot.metric._kinds import SHARED
from surefoot.typed import typed

Function = TypeVar("Function", bound=Callable[..., Tensor | dict[str, Tensor]])


@dataclass(frozen=True)
class Metric:
    """A metric and what is known of it; calling it gives one number a sample, (N,).

    Attributes:
        function: the metric itself.
        needs: what to give, in order: ("a", "b") two maps, ("a",) one map, ("h", "mask") a map and
            the object, ("model", "images", "h", "target"), the same with "attributions" (signed,
            not reduced), ("h", "h2", "images", "images2") maps and inputs before and after, or
            ("explainer", "model", "images", "target").
        range: lowest and highest value, at the defaults; infinite where it has no end.
        higher_is_better: the direction.
        options: keyword arguments it is called with.

    >>> from surefoot.metric import get
    >>> get("gini").needs, get("gini").higher_is_better
    (('a',), True)
    """

    function: Callable[..., Tensor | dict[str, Tensor]]
    needs: tuple[str, ...]
    range: tuple[float, float]
    higher_is_better: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __call__(self, *given: Any, **options: Any) -> Tensor:
        """The metric of what `needs` lists, (N,); one with a result a layer gives their mean."""
        result = self.function(*given, **{**self.options, **options})
        return result if isinstance(result, Tensor) else torch.stack([*result.values()]).mean(0)


_METRICS: dict[str, Metric] = {}
REGISTRY: Mapping[str, Metric] = MappingProxyType(_METRICS)


def measure(
    needs: tuple[str, ...], span: tuple[float, float], higher_is_better: bool
) -> Callable[[Function], Function]:
    """Register a function as a metric, and complete its docstring by what its kind shares."""

    def register(function: Function) -> Function:
        shared, own = SHARED.get(needs, ""), function.__doc__ or ""
        function.__doc__ = completed(own, shared, _arguments(function))
        checked = typed(function, len(needs))
        _METRICS[function.__name__] = Metric(checked, needs, span, higher_is_better)
        return checked

    return register


def names(*needs: str) -> list[str]:
    """The names of all metrics, or of those that take exactly `needs`.

    >>> names("a")
    ['gini', 'entropy', 'effective_complexity']
    """
    return [name for name, metric in REGISTRY.items() if not needs or metric.needs == needs]


def get(name: str, **options: Any) -> Metric:
    """The metric of that name, with options set.

    Raises:
        SurefootError: an unknown name or option.

    >>> overlap = get("topk_intersection", k=2)
    >>> overlap(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3.0, 1.0, 2.0]]))
    tensor([0.5000])
    >>> overlap.higher_is_better, overlap.range, overlap.needs
    (True, (0.0, 1.0), ('a', 'b'))
    """
    if name not in REGISTRY:
        raise SurefootError(f"there is no metric {name!r}; {suggest(name, REGISTRY)}")
    metric = REGISTRY[name]
    allowed = _arguments(metric.function)[len(metric.needs) :]
    for option in options:
        if option not in allowed:
            raise SurefootError(f"{name} has no option {option!r}; {suggest(option, allowed)}")
    return replace(metric, options={**metric.options, **options})


def _arguments(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
