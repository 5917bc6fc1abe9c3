"""The metrics by name, with what a table or an audit must know of each."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from surefoot.errors import SurefootError, suggest
from surefoot.metric import (
    _areas,
    _correlation,
    _fidelity,
    _infidelity,
    _kendall,
    _lens,
    _localisation,
    _randomisation,
    _road,
    _sensitivity,
    _similarity,
    _sparsity,
    _ssim,
    _stability,
)

# The words of `needs`, in the order of the metrics' positional arguments.
PAIR = ("a", "b")
MAP = ("a",)
MASK = ("h", "mask")
MODEL_MAP = ("model", "images", "h", "target")
MODEL_ATTRIBUTIONS = ("model", "images", "attributions", "target")
MOVED = ("h", "h2", "images", "images2")
EXPLAINER = ("explainer", "model", "images", "target")


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
    """

    function: Callable[..., Tensor | dict[str, Tensor]]
    needs: tuple[str, ...]
    range: tuple[float, float]
    higher_is_better: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, *given: Any, **options: Any) -> Tensor:
        """The metric of what `needs` lists, (N,); one with a result a layer gives their mean."""
        result = self.function(*given, **{**self.options, **options})
        return result if isinstance(result, Tensor) else torch.stack([*result.values()]).mean(0)


ONE, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
UP, DOWN = True, False  # higher is better, lower is better

_METRICS = [
    Metric(_similarity.topk_intersection, PAIR, ONE, UP),
    Metric(_kendall.kendall, PAIR, SIGNED, UP),
    Metric(_similarity.spearman, PAIR, SIGNED, UP),
    Metric(_similarity.pearson, PAIR, SIGNED, UP),
    Metric(_similarity.cosine, PAIR, SIGNED, UP),
    Metric(_ssim.ssim, PAIR, SIGNED, UP),
    Metric(_similarity.l2, PAIR, POSITIVE, DOWN),
    Metric(_similarity.mass_centre_shift, PAIR, POSITIVE, DOWN),
    Metric(_lens.lens_recall, PAIR, ONE, UP),
    Metric(_lens.lens_precision, PAIR, ONE, UP),
    Metric(_fidelity.saliency_fidelity, MODEL_MAP, POSITIVE, DOWN),
    Metric(_areas.deletion, MODEL_MAP, ONE, DOWN),
    Metric(_areas.insertion, MODEL_MAP, ONE, UP),
    Metric(_areas.morf, MODEL_MAP, SIGNED, UP),
    Metric(_areas.lerf, MODEL_MAP, SIGNED, DOWN),
    Metric(_fidelity.sufficiency, MODEL_MAP, SIGNED, DOWN),
    Metric(_fidelity.comprehensiveness, MODEL_MAP, SIGNED, UP),
    Metric(_correlation.faithfulness_correlation, MODEL_ATTRIBUTIONS, SIGNED, UP),
    Metric(_correlation.monotonicity_correlation, MODEL_ATTRIBUTIONS, SIGNED, UP),
    Metric(_infidelity.infidelity, MODEL_ATTRIBUTIONS, POSITIVE, DOWN),
    Metric(_road.road, MODEL_MAP, ONE, DOWN),
    Metric(_sensitivity.sensitivity, MOVED, POSITIVE, DOWN),
    Metric(_sensitivity.max_sensitivity, EXPLAINER, POSITIVE, DOWN),
    Metric(_sensitivity.average_sensitivity, EXPLAINER, POSITIVE, DOWN),
    Metric(_sensitivity.local_lipschitz, EXPLAINER, POSITIVE, DOWN),
    Metric(_stability.relative_input_stability, EXPLAINER, POSITIVE, DOWN),
    Metric(_stability.relative_output_stability, EXPLAINER, POSITIVE, DOWN),
    Metric(_stability.relative_representation_stability, EXPLAINER, POSITIVE, DOWN),
    Metric(_sparsity.gini, MAP, ONE, UP),
    Metric(_sparsity.entropy, MAP, POSITIVE, DOWN),
    Metric(_sparsity.effective_complexity, MAP, POSITIVE, DOWN),
    Metric(_localisation.pointing_game, MASK, ONE, UP),
    Metric(_localisation.relevance_mass_accuracy, MASK, ONE, UP),
    Metric(_localisation.relevance_rank_accuracy, MASK, ONE, UP),
    Metric(_localisation.topk_localisation, MASK, ONE, UP),
    Metric(_localisation.localisation_auc, MASK, ONE, UP),
    Metric(_randomisation.parameter_randomisation, EXPLAINER, SIGNED, DOWN),
    Metric(_randomisation.random_logit, EXPLAINER, SIGNED, DOWN),
]

REGISTRY: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})


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
    allowed = _options(metric.function)[len(metric.needs) :]
    for option in options:
        if option not in allowed:
            raise SurefootError(f"{name} has no option {option!r}; {suggest(option, allowed)}")
    return replace(metric, options={**metric.options, **options})


def _options(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
