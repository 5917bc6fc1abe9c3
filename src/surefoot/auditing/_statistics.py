"""Means with bootstrap intervals, paired tests, and Holm's correction."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surefoot import errors
from surefoot.errors import SurefootError

Values = NDArray[np.float64]

_AT_ONCE = 2**23  # resampled numbers held at once
_EXACT = 50  # samples; beyond, the normal law agrees
MOST_BCA = 2000  # samples; beyond, the two intervals agree and the jackknife takes n^2


class Interval(NamedTuple):
    """A mean, and the ends of its interval."""

    mean: float
    low: float
    high: float


def check_settings(confidence: float, resamples: int) -> None:
    """Raise unless both can be used."""
    if not 0 < confidence < 1 or resamples < 1:
        raise SurefootError(
            f"confidence={confidence}, resamples={resamples}: expected 0 < confidence < 1 and at "
            "least one resample"
        )


def interval(values: Values, confidence: float, resamples: int, seed: int) -> Interval:
    """The mean of finite `values` (n,) and its bootstrap interval over samples.

    Bias-corrected and accelerated (Efron 1987, J. Am. Stat. Assoc. 82) as scipy.stats.bootstrap
    has it; the percentile interval where that is not defined, and beyond 2000 samples. Where all
    values are equal the interval is that value; one value alone has none (NaN). The draws depend
    on the seed alone, so that all rows with the same number of samples are resampled alike.
    """
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        mean = float(values.mean())
    if len(values) == 1 or not np.isfinite(mean):
        return Interval(mean, np.nan, np.nan)
    if values.min() == values.max():
        return Interval(float(values[0]), float(values[0]), float(values[0]))
    for method in ("BCa", "percentile")[len(values) > MOST_BCA :]:
        low, high = _bootstrap(values, confidence, resamples, seed, method)
        if not (np.isnan(low) or np.isnan(high)):
            break
    return Interval(mean, low, high)


def _bootstrap(
    values: Values, confidence: float, resamples: int, seed: int, method: str
) -> tuple[float, float]:
    stats = errors.optional("scipy.stats", "audit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an interval that is not defined comes as NaN
        found = stats.bootstrap(
            (values,),
            np.mean,
            vectorized=True,
            confidence_level=confidence,
            n_resamples=resamples,
            batch=max(1, _AT_ONCE // len(values)),
            method=method,
            random_state=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)


def paired_p(differences: Values) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test of finite differences (n,).

    Zeros are ranked and then dropped (Pratt 1959, J. Am. Stat. Assoc. 54), as top-k intersections
    often tie. 1 where all are zero; NaN where there are fewer than two, which tell nothing.
    """
    if len(differences) < 2:
        return float("nan")
    if not differences.any():
        return 1.0
    stats = errors.optional("scipy.stats", "audit")
    if len(differences) <= _EXACT:
        ranks = stats.rankdata(np.abs(differences))[differences != 0]
        return _signed_rank(ranks, differences[differences != 0] > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older ones tell of the normal approximation at zeros
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def _signed_rank(ranks: Values, positive: NDArray[np.bool_]) -> float:
    """The share of all signs of these ranks, ties and all, that are as far from even; two-sided.

    How often each sum of positive ranks comes is found by adding one rank after the other; scipy's
    own way with ties goes through every choice of signs, which takes a second a test.
    """
    doubled = np.rint(2 * ranks).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    ways /= ways.sum()
    found = int(doubled[positive].sum())
    tail = min(ways[: found + 1].sum(), ways[found:].sum())
    return float(min(1.0, 2 * tail))


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979, Scand. J. Stat. 6); NaN stays and is not one.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    corrected = np.full_like(given, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(given[order] * factor).clip(max=1)
    return [float(value) for value in corrected]
