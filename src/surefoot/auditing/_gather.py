"""Sums over the parts of an audit, one part in memory at a time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.auditing import _statistics as statistics
from surefoot.auditing._parts import KEYS
from surefoot.auditing._threat import Threat

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, ...]


@dataclass
class Gathered:
    """What is known of the values of one model, explainer, attack and metric.

    Attributes:
        n: values that are numbers.
        dropped: those that are NaN.
        failed: of those, the ones where something failed.
        kept: samples whose prediction was kept.
        total: sum of the values.
        least: the smallest.
        most: the largest.
        control: whether it is a control's.
        threat: the threat model.
        values: all of them, as long as they are few; else None, and `spread` holds the resamples.
        spread: sums of weights times values, and of weights, each (resamples,).
    """

    n: int = 0
    dropped: int = 0
    failed: int = 0
    kept: int = 0
    total: float = 0.0
    least: float = np.inf
    most: float = -np.inf
    control: bool = False
    threat: dict[str, str] = field(default_factory=dict)
    values: list[NDArray[np.float64]] | None = field(default_factory=list)
    spread: NDArray[np.float64] | None = None

    @property
    def mean(self) -> float:
        """Of the values that are numbers; NaN if there are none."""
        return self.total / self.n if self.n else float("nan")

    def interval(self, confidence: float, resamples: int, seed: int) -> statistics.Interval:
        """The mean and the ends of its bootstrap interval."""
        if self.values is not None:
            every = np.concatenate(self.values) if self.values else np.empty(0)
            return statistics.interval(every, confidence, resamples, seed)
        if self.n < 2 or not np.isfinite(self.mean):
            return statistics.Interval(self.mean, np.nan, np.nan)
        if self.least == self.most or self.spread is None:
            return statistics.Interval(self.least, self.least, self.least)
        means = self.spread[0] / np.maximum(self.spread[1], 1)
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
        return statistics.Interval(self.mean, float(low), float(high))

    def add(self, value: NDArray[np.float64], weights: NDArray[np.float64] | None) -> None:
        """Count some values; of (m,) values, weights are (m, resamples)."""
        known = ~np.isnan(value)
        some = value[known]
        self.n += len(some)
        self.dropped += len(value) - len(some)
        if not len(some):
            return
        with np.errstate(invalid="ignore"):
            self.total += float(some.sum())
        self.least, self.most = min(self.least, some.min()), max(self.most, some.max())
        if weights is None:
            if self.values is not None:
                self.values.append(some)
            return
        self.values = None
        with np.errstate(invalid="ignore"):
            sums = np.stack([some @ weights[known], weights[known].sum(0)])
        self.spread = sums if self.spread is None else self.spread + sums


def gather(
    tables: Iterable["pa.Table"], many: bool, resamples: int, seed: int
) -> dict[Key, Gathered]:
    """The values of every model, explainer, attack and metric.

    Args:
        tables: the parts.
        many: whether to keep sums of resamples in place of the values. Each sample then has
            weights of its own, drawn from Poisson's law with mean 1 (the bootstrap for data that
            are seen once: Chamandy et al. 2012, Estimating uncertainty for massive data streams).
        resamples: of the bootstrap.
        seed: of the weights.
    """
    found: dict[Key, Gathered] = {}
    threat = list(Threat._fields)
    columns = [*KEYS, "sample", "value", "label_kept", "control", "error", *threat]
    for table in tables:
        rows = table.select(columns).to_pandas()
        numbers, where = np.unique(rows["sample"].to_numpy(), return_inverse=True)
        weights = _weights(numbers, resamples, seed) if many else None
        rows["error"] = rows["error"] != ""
        for key, group in rows.groupby(list(KEYS), sort=False):
            one = found.setdefault(key, Gathered())
            which = where[group.index.to_numpy()]
            one.add(group["value"].to_numpy(), None if weights is None else weights[which])
            one.failed += int(group["error"].sum())
            one.kept += int(group["label_kept"].sum())
            one.control = bool(group["control"].iloc[0])
            one.threat = one.threat or group[threat].iloc[0].to_dict()
    return found


def _weights(samples: NDArray[Any], resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each sample is taken in each resample; by seed and sample number alone."""
    each = [
        np.random.Generator(np.random.Philox(key=[seed, int(sample)])).poisson(1.0, resamples)
        for sample in samples
    ]
    return np.array(each, dtype=np.float64).reshape(len(samples), resamples)
