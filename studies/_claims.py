"""Claims that results can deny: an effect, its interval, and the mark that it must pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies._cells import Found

Results = Mapping[tuple[str, str, int], Found]


@dataclass(frozen=True)
class Effect:
    """A mean difference with its 95 % interval, over seeds and samples."""

    mean: float
    low: float
    high: float
    seeds: int
    samples: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Claim:
    """What a paper, or this project, says, and how it is tested here.

    Attributes:
        says: the statement.
        source: who says so.
        effect: what is measured, from the results of one data set; None where they do not hold it.
        mark: it holds where the whole interval is above, and does not where it is below.
    """

    says: str
    source: str
    effect: Callable[[Results], Effect | None]
    mark: float = 0.0

    def verdict(self, results: Results) -> tuple[str, Effect | None]:
        """In words, with the effect."""
        found = self.effect(results)
        if found is None:
            return "not testable here", None
        if found.low > self.mark:
            return "holds", found
        return ("does not hold" if found.high < self.mark else "undecided"), found


def of_data(results: Results, data: str) -> Results:
    """Those of one data set."""
    return {key: found for key, found in results.items() if key[0] == data}


def arms(results: Results) -> list[str]:
    """Every arm that has a result, in the order of the results."""
    return list(dict.fromkeys(arm for _, arm, _ in results))


def shared(results: Results) -> list[int]:
    """The samples that every network gets right."""
    seen = [set(found.values["sample"]) for found in results.values() if len(found.values)]
    return sorted(set.intersection(*seen)) if seen else []


def per_sample(results: Results, place: str, samples: Sequence[int]) -> np.ndarray:
    """(seeds, samples) of "arm > explainer | attack | metric"."""
    arm, _, column = place.partition(" > ")
    rows = [
        asked.set_index("sample")["value"].reindex(samples).to_numpy(float)
        for (_, other, _), found in results.items()
        if other == arm
        for asked in [_column(found, column)]
        if len(asked)
    ]
    return np.array(rows)


def _column(found: Found, column: str) -> pd.DataFrame:
    values = found.values
    for name, asked in zip(("explainer", "attack", "metric"), column.split(" | "), strict=True):
        values = values[values[name] == asked]
    return values


def difference(a: str, b: str, *, scale: float = 1.0) -> Callable[[Results], Effect | None]:
    """The effect "a - b" of two places, on the samples that all networks get right.

    Seeds are paired where both arms have them; seeds and samples are drawn anew. `scale=-1` turns
    it round where less is better.
    """

    def effect(results: Results) -> Effect | None:
        samples = shared(results)
        first, second = (place.partition(" > ")[0] for place in (a, b))
        seeds = {arm: {seed for _, name, seed in results if name == arm} for arm in (first, second)}
        both = seeds[first] & seeds[second]
        paired = {key: one for key, one in results.items() if key[2] in both}
        mine, theirs = (per_sample(paired, place, samples) for place in (a, b))
        if mine.shape != theirs.shape or not mine.size:
            return None
        return bootstrapped(scale * (mine - theirs))

    return effect


def bootstrapped(differences: np.ndarray, draws: int = 4999) -> Effect:
    """The mean of (seeds, samples) with a percentile interval, both drawn anew.

    >>> bootstrapped(np.full((2, 5), 0.25))
    Effect(mean=0.25, low=0.25, high=0.25, seeds=2, samples=5)
    """
    known = differences[:, ~np.isnan(differences).any(0)]
    source = np.random.default_rng(0)
    seeds, samples = known.shape
    if not samples:
        return Effect(np.nan, np.nan, np.nan, seeds, 0)
    over = source.integers(samples, size=(draws, samples))
    which = source.integers(seeds, size=(draws, seeds))
    means = np.array([known[s][:, o].mean() for s, o in zip(which, over, strict=True)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Effect(float(known.mean()), float(low), float(high), seeds, samples)
