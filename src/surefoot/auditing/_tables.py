"""The tables of an audit: per-sample rows, the summary, paired comparisons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot import errors
from surefoot.auditing import _statistics as statistics
from surefoot.auditing._gather import Gathered, Key, gather
from surefoot.auditing._parts import FACTORS, KEYS, schema
from surefoot.errors import SurefootError, suggest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Tables = Iterable["pa.Table"]

_MANY = statistics.MOST_BCA
_CLEAN = "clean"


def order(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names in the order of the plan, by column."""
    return {
        "model": list(settings["models"]),
        "explainer": list(settings["explainers"]),
        "attack": [_CLEAN, *settings["attacks"]],
        "metric": list(settings["metrics"]),
    }


def frame(tables: Tables, settings: Mapping[str, Any]) -> "pd.DataFrame":
    """One row a model, explainer, attack, metric and sample, in the order of the plan."""
    arrow = errors.optional("pyarrow", "audit")
    every = arrow.concat_tables(list(tables)).to_pandas() if (tables := list(tables)) else None
    if every is None:
        every = schema().empty_table().to_pandas()
    places = {
        name: every[name].map({text: i for i, text in enumerate(texts)}).to_numpy()
        for name, texts in order(settings).items()
    }
    keys = [every["sample"].to_numpy(), *(places[name] for name in reversed(KEYS))]
    return every.iloc[np.lexsort(keys)].reset_index(drop=True)


def summary(
    tables: Tables, settings: Mapping[str, Any], confidence: float, resamples: int, seed: int
) -> "pd.DataFrame":
    """See `AuditResult.summary`."""
    statistics.check_settings(confidence, resamples)
    found = gather(tables, settings["samples"]["used"] > _MANY, resamples, seed)
    rows = [
        _summary_row(key, found, settings, found[key].interval(confidence, resamples, seed))
        for key in _sorted(found, settings)
    ]
    return errors.optional("pandas", "audit").DataFrame(rows)


def _sorted(found: Iterable[Key], settings: Mapping[str, Any]) -> list[Key]:
    places = {name: {t: i for i, t in enumerate(ts)} for name, ts in order(settings).items()}
    return sorted(found, key=lambda key: _places(places, KEYS, key))


def _places(
    known: Mapping[str, Mapping[str, int]], columns: Sequence[str], key: Sequence[str]
) -> list[int]:
    """Where a row stands in the order of the plan."""
    for column, text in zip(columns, key, strict=True):
        if text not in known[column]:
            raise SurefootError(
                f"a row has the {column} {text!r}, which the audit's settings do not name: the "
                "rows are another audit's"
            )
    return [known[column][text] for column, text in zip(columns, key, strict=True)]


def _summary_row(
    key: Key,
    found: Mapping[Key, Gathered],
    settings: Mapping[str, Any],
    mean: statistics.Interval,
) -> dict[str, Any]:
    one, facts = found[key], settings["metrics"][key[3]]
    floor = found.get((*key[:2], settings["floors"].get(key[2], ""), key[3]))
    compared = facts["ceiling"] is not None and key[2] != _CLEAN
    return {
        **dict(zip(KEYS, key, strict=True)),
        **mean._asdict(),
        "n": one.n,
        "dropped": one.dropped,
        "failed": one.failed,
        "label_kept": one.kept / max(1, one.n + one.dropped),
        "floor": np.nan if floor is None else floor.mean,
        "ceiling": facts["ceiling"] if compared else np.nan,
        "higher_is_better": facts["higher_is_better"],
        "control": one.control,
        **one.threat,
    }


def compare(
    read: Callable[[], Tables],
    settings: Mapping[str, Any],
    names: tuple[str, str],
    by: str,
    options: tuple[float, int, int],
) -> "pd.DataFrame":
    """See `AuditResult.compare`; `options` are confidence, resamples and seed."""
    statistics.check_settings(*options[:2])
    pandas = errors.optional("pandas", "audit")
    left, right = (_values(read(), by, name) for name in names)
    others = [key for key in KEYS if key != by]
    both = left.merge(right, on=[*others, "sample"], suffixes=("_a", "_b"), sort=False)
    groups = dict(iter(both.groupby(others, sort=False)))
    known = order(settings)
    places = {name: {t: i for i, t in enumerate(known[name])} for name in others}
    found = []
    for key in sorted(groups, key=lambda key: _places(places, others, key)):
        a, b = (groups[key][f"value_{side}"].to_numpy() for side in "ab")
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
    return pandas.DataFrame(found)


def _values(tables: Tables, by: str, name: str) -> "pd.DataFrame":
    """The values of one name, by sample; texts held once each."""
    pandas = errors.optional("pandas", "audit")
    compute = errors.optional("pyarrow.compute", "audit")
    columns = [*KEYS, "sample", "value"]
    some = [t.select(columns).filter(compute.equal(t[by], name)).to_pandas() for t in tables]
    return pandas.concat(some, ignore_index=True).drop(columns=by)


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


def axis_of(settings: Mapping[str, Any], names: tuple[str, str], by: str | None) -> str:
    """Whether two names are of models, explainers or attacks.

    Raises:
        SurefootError: they are of none or of several, or `by` is none of the three.
    """
    if by is not None and by not in FACTORS:
        raise SurefootError(f"by={by!r}, expected one of {list(FACTORS)}")
    known = {factor: order(settings)[factor] for factor in FACTORS}
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


def means(
    tables: Tables, settings: Mapping[str, Any]
) -> tuple["pd.DataFrame", Sequence[tuple[Key, Gathered]]]:
    """Mean by explainer and attack, one column a metric, and where values are missing."""
    pandas = errors.optional("pandas", "audit")
    found = gather(tables, many=True, resamples=0, seed=0)
    keys = _sorted(found, settings)
    first = 0 if len(settings["models"]) > 1 else 1
    rows = list(dict.fromkeys(key[first:3] for key in keys))
    known = {(key[first:3], key[3]): found[key].mean for key in keys}
    metrics = [name for name in settings["metrics"] if any(key[3] == name for key in keys)]
    wide = pandas.DataFrame(
        [[known.get((row, name), np.nan) for name in metrics] for row in rows],
        index=pandas.MultiIndex.from_tuples(rows, names=FACTORS[first:]),
        columns=pandas.Index(metrics, name="metric"),
    )
    return wide, [(key, found[key]) for key in keys if found[key].dropped]
