"""Claims that results can deny: an effect, its interval, and the mark that it must pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies._cells import Found

Results = Mapping[tuple[str, str, int], Found]
_DRAWS = 4999


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


def per_sample(results: Results, arm: str, column: str, samples: Sequence[int]) -> np.ndarray:
    """(seeds, samples) of "explainer | attack | metric"."""
    explainer, attack, metric = column.split(" | ")
    rows = []
    for (_, other, _), found in results.items():
        if other == arm:
            values: pd.DataFrame = found.values
            asked = values[
                (values["explainer"] == explainer)
                & (values["attack"] == attack)
                & (values["metric"] == metric)
            ]
            if len(asked):
                rows.append(asked.set_index("sample")["value"].reindex(samples).to_numpy(float))
    return np.array(rows)


def difference(
    arm: str, other: str, column: str, *, scale: float = 1.0
) -> Callable[[Results], Effect | None]:
    """The effect "arm - other" in a column, on the samples that all networks get right.

    Seeds are paired where both arms have them; seeds and samples are drawn anew.
    """

    def effect(results: Results) -> Effect | None:
        samples = shared(results)
        seeds = [seed for _, name, seed in results if name == arm]
        both = {seed for _, name, seed in results if name == other and seed in seeds}
        paired = {key: one for key, one in results.items() if key[2] in both}
        mine, theirs = (per_sample(paired, name, column, samples) for name in (arm, other))
        if not len(mine) or mine.shape != theirs.shape or not mine.size:
            return None
        return bootstrapped(scale * (mine - theirs))

    return effect


def bootstrapped(differences: np.ndarray) -> Effect:
    """The mean of (seeds, samples) with a percentile interval, both drawn anew.

    >>> bootstrapped(np.full((2, 5), 0.25))
    Effect(mean=0.25, low=0.25, high=0.25, seeds=2, samples=5)
    """
    known = differences[:, ~np.isnan(differences).any(0)]
    source = np.random.default_rng(0)
    seeds, samples = known.shape
    if not samples:
        return Effect(np.nan, np.nan, np.nan, seeds, 0)
    over = source.integers(samples, size=(_DRAWS, samples))
    which = source.integers(seeds, size=(_DRAWS, seeds))
    means = np.array([known[s][:, o].mean() for s, o in zip(which, over, strict=True)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Effect(float(known.mean()), float(low), float(high), seeds, samples)
