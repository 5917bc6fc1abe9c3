"""Similarity against budget, for each explainer between its floor and its ceiling."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from surefoot.report._page_budgets import Budgeted, size
from surefoot.report._page_tables import Numbers, number

WIDE, HIGH, LEFT, BOTTOM, TOP = 320, 200, 40, 34, 12


def curves(numbers: Numbers) -> list[dict[str, Any]]:
    """One drawing an explainer and norm; none where no budget is known."""
    known = numbers.budgets
    found = []
    for model in numbers.models:
        for explainer in numbers.explainers:
            for norm in sorted({one.norm for one in known.values()}):
                one = _curve(numbers, model, explainer, norm, known)
                if one is not None:
                    name = f"{model}: {explainer}" if len(numbers.models) > 1 else explainer
                    found.append({"name": name, "norm": norm, **one})
    return found


def _curve(
    numbers: Numbers, model: str, explainer: str, norm: str, known: Mapping[str, Budgeted]
) -> dict[str, Any] | None:
    kinds: dict[str, list[tuple[float, dict[str, Any], str]]] = {}
    for name in numbers.attacks:
        row = numbers.find(model, explainer, name, numbers.main or "")
        here = name in known and known[name].norm == norm
        if here and row is not None and not math.isnan(row["mean"]):
            point = (known[name].radius, row, numbers.label(name))
            kinds.setdefault(known[name].kind, []).append(point)
    if not kinds:
        return None
    points = [point for some in kinds.values() for point in some]
    largest = max(radius for radius, _, _ in points)
    ceiling = points[0][1]["ceiling"]
    low = min([0.0, *(row["mean"] for _, row, _ in points)])

    def place(radius: float, value: float) -> tuple[float, float]:
        share = (value - low) / (ceiling - low)
        x = LEFT + (WIDE - LEFT - 24) * radius / largest
        return round(x, 1), round(HIGH - BOTTOM - (HIGH - BOTTOM - TOP) * share, 1)

    floors = sorted({(r, row["floor"]) for r, row, _ in points if not math.isnan(row["floor"])})
    return {
        "lines": [_line(some, place, ceiling) for some in kinds.values()],
        "floor": _path(place(r, v) for r, v in [(0.0, ceiling), *floors]) if floors else "",
        "ceiling": place(0, ceiling)[1],
        "ticks": [(place(0, v)[1], f"{v:g}") for v in (low, (low + ceiling) / 2, ceiling)],
        "ends": [
            (place(r, 0)[0], size(Budgeted("", norm, r))) for r in sorted({r for r, _, _ in points})
        ],
        "told": _told(points, floors),
    }


def _line(some: list[tuple[float, dict[str, Any], str]], place: Any, ceiling: float) -> Any:
    some = sorted(some, key=lambda point: point[0])
    bars = [
        (*place(r, row["low"]), place(r, row["high"])[1])
        for r, row, _ in some
        if not math.isnan(row["low"])
    ]
    marks = [(*place(r, row["mean"]), f"{name}: {number(row['mean'])}") for r, row, name in some]
    path = _path([place(0, ceiling), *((x, y) for x, y, _ in marks)])
    return {
        "path": path,
        "marks": marks,
        "bars": bars,
        "name": ", ".join(name for _, _, name in some),
    }


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _told(
    points: list[tuple[float, dict[str, Any], str]], floors: list[tuple[float, float]]
) -> str:
    """The drawing in words."""
    attacks = "; ".join(f"{name} leaves {number(row['mean'])}" for _, row, name in points)
    signs = "; ".join(f"{number(value)} at {radius:.3g}" for radius, value in floors)
    return f"{attacks}. Random signs leave {signs}." if signs else f"{attacks}."
