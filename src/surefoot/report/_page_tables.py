"""The numbers of an audit as tables that a reader can take in."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surefoot.auditing import AuditResult
from surefoot.report._page_budgets import Budgeted, budgets, size
from surefoot.report._page_metrics import in_words

_SURE = 0.05  # of the corrected paired test, below which the best stands out
_RESAMPLES = 20  # of comparisons, whose intervals are not shown


@dataclass(frozen=True)
class Numbers:
    """The summary of an audit, and the metric that verdicts go by.

    Attributes:
        rows: of the summary.
        main: the first metric of two maps that is better if higher; None if there is none.
        explainers: by name, without the control.
        attacks: by name, without controls and clean inputs.
        models: by name.
        budgets: of the attacks that have one.
        measure: what that metric says, in words.
        samples: how many were audited.
        seen: of how many that were looked at.
    """

    rows: Sequence[dict[str, Any]]
    main: str | None
    explainers: Sequence[str]
    attacks: Sequence[str]
    models: Sequence[str]
    budgets: Mapping[str, Budgeted]
    measure: str
    samples: int
    seen: int

    @classmethod
    def of(cls, result: AuditResult) -> "Numbers":
        """Those of a result."""
        settings = result.settings
        rows = result.summary().to_dict("records")
        meant = [row for row in rows if not row["control"]]
        metrics = settings["metrics"]
        good = (n for n, m in metrics.items() if m["ceiling"] and m["higher_is_better"])
        main = next(good, None)
        return cls(
            rows,
            main,
            list(dict.fromkeys(row["explainer"] for row in meant)),
            [a for a in dict.fromkeys(row["attack"] for row in meant) if a != "clean"],
            list(settings["models"]),
            budgets(settings["attacks"]),
            in_words(metrics[main]["metric"]) if main else "",
            settings["samples"]["used"],
            settings["samples"]["seen"],
        )

    def label(self, attack: str) -> str:
        """An attack's name as readers know budgets: in steps of a picture of 8 bits."""
        if any(
            r["attack"] == attack and r["manipulates"] == "input" and r["goal"] == "none"
            for r in self.rows
        ):
            return f"{attack} (natural)"
        known = self.budgets.get(attack)
        if known is None:
            return attack
        base = attack.removesuffix(f" {known.norm} {known.radius:.4g}")
        return f"{base}, {known.norm} {size(known)}"

    def find(self, model: str, explainer: str, attack: str, metric: str) -> dict[str, Any] | None:
        """One row of the summary."""
        keys = {"model": model, "explainer": explainer, "attack": attack, "metric": metric}
        return next((r for r in self.rows if all(r[k] == v for k, v in keys.items())), None)


def tables(result: AuditResult, numbers: Numbers) -> list[dict[str, Any]]:
    """One table a model and metric, the main one first: explainers by attacks."""
    best = _separated(result, numbers)
    metrics = list(result.settings["metrics"])
    if numbers.main is not None:
        metrics = [numbers.main, *(name for name in metrics if name != numbers.main)]
    found = []
    for model, metric in itertools.product(numbers.models, metrics):
        columns = [
            attack
            for attack in ["clean", *numbers.attacks]
            if any(numbers.find(model, e, attack, metric) for e in numbers.explainers)
        ]
        if not columns:
            continue
        rows = {
            explainer: [numbers.find(model, explainer, attack, metric) for attack in columns]
            for explainer in numbers.explainers
        }
        facts = result.settings["metrics"][metric]
        found.append(
            {
                "model": model if len(numbers.models) > 1 else "",
                "metric": metric,
                "recipe": facts["metric"].removesuffix("()"),
                "words": in_words(facts["metric"]),
                "main": metric == numbers.main,
                "way": {True: "higher is better", False: "lower is better", None: ""}[
                    facts["higher_is_better"]
                ],
                "columns": [numbers.label(name) for name in columns],
                "lines": [
                    {"name": explainer, "cells": [_cell(row, best) for row in some]}
                    for explainer, some in rows.items()
                ],
                "apart": _apart(numbers, model, metric, columns),
            }
        )
    return found


def _cell(row: dict[str, Any] | None, best: set[tuple[str, ...]]) -> dict[str, Any] | None:
    if row is None:
        return None
    key = tuple(row[name] for name in ("model", "explainer", "attack", "metric"))
    return {**row, "best": key in best, "text": number(row["mean"]), "ends": ends(row)}


def _apart(numbers: Numbers, model: str, metric: str, columns: Sequence[str]) -> list[Any]:
    """What no explainer is ranked with: random signs, the identical input, the control map."""
    first = numbers.explainers[0]
    lines = []
    for explainer in numbers.explainers:
        floors = [numbers.find(model, explainer, a, metric) for a in columns]
        values = [math.nan if row is None else row["floor"] for row in floors]
        lines.append((f"random signs, {explainer}", values))
    ceiling = [numbers.find(model, first, a, metric) for a in columns]
    lines.append(("identical input", [math.nan if r is None else r["ceiling"] for r in ceiling]))
    control = next((r["explainer"] for r in numbers.rows if _ignores(r, numbers)), None)
    if control is not None:
        found = [numbers.find(model, control, a, metric) for a in columns]
        means = [math.nan if row is None else row["mean"] for row in found]
        lines.append((f"{control}, which ignores the model", means))
    return [
        {"name": name, "cells": [number(value) for value in values]}
        for name, values in lines
        if not all(math.isnan(value) for value in values)
    ]


def _ignores(row: dict[str, Any], numbers: Numbers) -> bool:
    return row["explainer"] not in numbers.explainers


def _separated(result: AuditResult, numbers: Numbers) -> set[tuple[str, ...]]:
    """Cells whose explainer is better than every other by the corrected paired test."""
    wins: dict[tuple[str, ...], set[str]] = {}
    for a, b in itertools.combinations(numbers.explainers, 2):
        rows = result.compare(a, b, by="explainer", resamples=_RESAMPLES).to_dict("records")
        for row in rows:
            higher, p = row["higher_is_better"], row["p_holm"]
            if higher is None or not p < _SURE or row["mean_a"] == row["mean_b"]:
                continue
            better = a if (row["mean_a"] > row["mean_b"]) == higher else b
            model = row.get("model", numbers.models[0])
            key = (model, better, row["attack"], row["metric"])
            wins.setdefault(key, set()).add(b if better == a else a)
    others = len(numbers.explainers) - 1
    return {key for key, beaten in wins.items() if len(beaten) == others > 0}


def number(value: float) -> str:
    """Three figures; nothing for what is not known."""
    if math.isnan(value):
        return ""
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def ends(row: dict[str, Any]) -> str:
    """The interval of a row."""
    if math.isnan(row["low"]):
        return ""
    return f"{number(row['low'])} to {number(row['high'])}"
