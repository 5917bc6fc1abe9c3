"""The tables of an audit: per-sample records, the summary, paired comparisons."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot import errors
from surefoot.auditing import _statistics as statistics
from surefoot.auditing._unit import Rows, Unit
from surefoot.errors import SurefootError, suggest

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ["model", "explainer", "attack"]
KEYS = [*FACTORS, "metric"]
COLUMNS = [*KEYS, "sample", "label", "value", "label_kept", "control"]

Mean = Callable[[statistics.Values], statistics.Interval]


def records(rows: Iterable[Rows]) -> "pd.DataFrame":
    """One row a model, explainer, attack, metric and sample, in the order of the plan."""
    pandas = errors.optional("pandas", "audit")
    of_unit: dict[tuple[str, str, str], list[Rows]] = {}
    for some in rows:
        unit = some.unit
        of_unit.setdefault((unit.model[0], unit.explainer[0], unit.attack), []).append(some)
    parts = [part for some in of_unit.values() for part in _unit_records(some[0].unit, some)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    return pandas.DataFrame(columns).astype(dict.fromkeys(KEYS, str))


def _unit_records(unit: Unit, rows: list[Rows]) -> list[dict[str, Any]]:
    """The columns of each metric of one unit, samples in order."""
    numbers = np.concatenate([some.numbers for some in rows])
    order = np.argsort(numbers, kind="stable")
    labels = np.concatenate([some.labels for some in rows])[order]
    kept = np.concatenate([some.label_kept for some in rows])[order]
    parts = []
    for metric in rows[0].values:
        value = np.concatenate([some.values[metric] for some in rows])[order]
        fixed = [unit.model[0], unit.explainer[0], unit.attack, metric]
        part: dict[str, Any] = {
            name: np.full(len(order), text, dtype=object)
            for name, text in zip(KEYS, fixed, strict=True)
        }
        control = np.full(len(order), unit.is_control)
        part |= {"sample": numbers[order], "label": labels, "value": value}
        parts.append(part | {"label_kept": kept, "control": control})
    return parts


def summary(
    table: "pd.DataFrame", settings: Mapping[str, Any], confidence: float, resamples: int, seed: int
) -> "pd.DataFrame":
    """See `AuditResult.summary`."""
    statistics.check_settings(confidence, resamples)
    means = table.groupby(KEYS, sort=False)["value"].mean().to_dict()
    found = []
    for key, group in table.groupby(KEYS, sort=False):
        value = group["value"].to_numpy()
        known = value[~np.isnan(value)]
        mean = statistics.interval(known, confidence, resamples, seed)
        floor = settings["floors"].get(key[2])
        facts = settings["metrics"][key[3]]
        compared = facts["ceiling"] is not None and key[2] != "clean"
        found.append(
            dict(zip(KEYS, key, strict=True))
            | mean._asdict()
            | {
                "n": len(known),
                "dropped": len(value) - len(known),
                "label_kept": float(group["label_kept"].mean()),
                "floor": means.get((*key[:2], floor, key[3]), np.nan),
                "ceiling": facts["ceiling"] if compared else np.nan,
                "higher_is_better": facts["higher_is_better"],
                "control": bool(group["control"].iloc[0]),
            }
        )
    return errors.optional("pandas", "audit").DataFrame(found)


def compare(
    table: "pd.DataFrame",
    settings: Mapping[str, Any],
    names: tuple[str, str],
    by: str,
    options: tuple[float, int, int],
) -> "pd.DataFrame":
    """See `AuditResult.compare`; `options` are confidence, resamples and seed."""
    statistics.check_settings(*options[:2])
    left, right = (table[table[by] == name] for name in names)
    others = [key for key in KEYS if key != by]
    both = left.merge(right, on=[*others, "sample"], suffixes=("_a", "_b"), sort=False)
    found = []
    for key, group in both.groupby(others, sort=False):
        a, b = group["value_a"].to_numpy(), group["value_b"].to_numpy()
        named = dict(zip(others, key, strict=True))
        higher = settings["metrics"][named["metric"]]["higher_is_better"]
        found.append(named | _pair(a, b, higher, options))
    if not found:
        raise SurefootError(
            f"{names[0]!r} and {names[1]!r} have no metric in common: attacked inputs have metrics "
            "that clean ones have not, and a control may be left out"
        )
    corrected = statistics.holm([row["p"] for row in found])
    for row, p in zip(found, corrected, strict=True):
        row["p_holm"] = p
    return errors.optional("pandas", "audit").DataFrame(found)


def _pair(
    a: statistics.Values,
    b: statistics.Values,
    higher: bool | None,
    options: tuple[float, int, int],
) -> dict[str, Any]:
    """One row of a comparison; samples with a NaN on either side, or infinite in both, are out."""
    with np.errstate(invalid="ignore"):
        difference = a - b
    known = ~np.isnan(difference)
    a, b, difference = a[known], b[known], difference[known]
    mean = statistics.interval(difference, *options)
    gain = None if higher is None else difference if higher else -difference
    return {
        "mean_a": float(a.mean()) if len(a) else np.nan,
        "mean_b": float(b.mean()) if len(b) else np.nan,
        "difference": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "better": float((gain > 0).mean()) if gain is not None and len(a) else np.nan,
        "worse": float((gain < 0).mean()) if gain is not None and len(a) else np.nan,
        "n": len(a),
        "dropped": int((~known).sum()),
        "higher_is_better": higher,
        "p": statistics.paired_p(difference),
    }


def axis_of(table: "pd.DataFrame", names: tuple[str, str], by: str | None) -> str:
    """Whether two names are of models, explainers or attacks.

    Raises:
        SurefootError: they are of none or of several, or `by` is none of the three.
    """
    if by is not None and by not in FACTORS:
        raise SurefootError(f"by={by!r}, expected one of {FACTORS}")
    known = {factor: list(table[factor].unique()) for factor in FACTORS}
    fitting = [
        factor
        for factor in ([by] if by else FACTORS)
        if all(name in known[factor] for name in names)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SurefootError(f"{names} are names of several: say which with by=, one of {fitting}")
    every = [name for factor in ([by] if by else FACTORS) for name in known[factor]]
    missing = next((name for name in names if name not in every), None)
    if missing is None:
        raise SurefootError(f"{names[0]!r} and {names[1]!r} are not of one kind: {known}")
    raise SurefootError(f"the audit has no {missing!r}; {suggest(str(missing), every)}")


def means(table: "pd.DataFrame", metrics: Iterable[str]) -> "pd.DataFrame":
    """Mean by explainer and attack, one column a metric: what a result shows of itself."""
    rows = FACTORS if table["model"].nunique() > 1 else FACTORS[1:]
    wide = table.groupby([*rows, "metric"], sort=False)["value"].mean().unstack("metric")
    order = table[rows].drop_duplicates().itertuples(index=False, name=None)
    wide = wide.reindex(list(order))
    return wide[[name for name in metrics if name in wide.columns]]
