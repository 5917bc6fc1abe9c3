"""What the members of the ensemble make rise: stand-ins for metrics that count or rank."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from surefoot import metric
from surefoot.attack._objectives import shares

Held = Mapping[str, Tensor]
Rises = Callable[[Tensor, Held], Tensor]

_TEMPERATURE = 2.0  # of 0.2 to 4 tried with "swap": 1 and 2 left least (this project's choice)


def mass(reduced: Tensor, held: Held) -> Tensor:
    """The share of the map outside the clean top k, (n,): what TopK makes rise, plus 1."""
    return 1 - (shares(reduced) * held["inside"]).flatten(1).sum(1)


def swap(reduced: Tensor, held: Held) -> Tensor:
    """How many places have changed sides of the threshold between the k largest and the rest, (n,).

    A place counts by a sigmoid of its distance to the current threshold, in units of the mean
    distance of the 2 k places nearest to it, so that those that can change sides push most, both
    the clean top k down and the rest up (this project's own).
    """
    rows, inside = shares(reduced).flatten(1), held["inside"].flatten(1)
    k = int(inside[0].sum())
    largest = rows.detach().topk(min(k + 1, rows.shape[1]), 1).values
    threshold = (largest[:, k - 1 : k] + largest[:, -1:]) / 2
    apart = (rows.detach() - threshold).abs()
    near = apart.topk(min(2 * k, rows.shape[1]), 1, largest=False).values.mean(1, keepdim=True)
    unit = (_TEMPERATURE * near).clamp_min(torch.finfo(rows.dtype).tiny)
    counted = torch.sigmoid((rows - threshold) / unit)
    return (counted * ~inside).sum(1) - (counted * inside).sum(1)


def ranks(reduced: Tensor, held: Held) -> Tensor:
    """Minus Pearson's r between the clean ranks and a smooth stand-in for the map's ranks, (n,).

    The stand-in is a sigmoid of each place's distance to the median, in units of the mean distance:
    a smooth distribution function (this project's own).
    """
    rows = shares(reduced).flatten(1)
    middle = rows.detach().median(1, keepdim=True).values
    spread = (rows.detach() - middle).abs().mean(1, keepdim=True)
    smooth = torch.sigmoid((rows - middle) / spread.clamp_min(torch.finfo(rows.dtype).tiny))
    return -metric.pearson(held["ranks"].flatten(1).to(rows), smooth)


def of_metric(name: str) -> Rises:
    """The metric itself, turned so that damage rises; the clean map may be a stationary point."""
    found = metric.get(name)
    sign = -1 if found.higher_is_better else 1

    def rises(reduced: Tensor, held: Held) -> Tensor:
        return sign * found(held["clean"], reduced)

    return rises


OBJECTIVES: Mapping[str, Rises] = {"mass": mass, "swap": swap, "ranks": ranks}


def objective(name: str) -> Rises:
    """By name: of these, or a metric's."""
    return OBJECTIVES.get(name) or of_metric(name)


def counts(by: str) -> bool:
    """Whether a metric counts places among the k largest."""
    return "k" in inspect.signature(metric.get(by).function).parameters


def stand_ins(by: str, clean: Tensor) -> tuple[str, ...]:
    """Objectives for the metric `by`, the strongest first; `clean` are reduced maps, (N, ...)."""
    if counts(by):
        return ("swap", "mass")
    if by in ("kendall", "spearman"):
        return ("ranks", "cosine")
    if not _has_slope(by, clean):
        return ("cosine", "ranks")
    return (by, "ranks" if by == "cosine" else "cosine")


def _has_slope(by: str, clean: Tensor) -> bool:
    moved: Any = (clean[:1] + clean[:1].abs().mean() * torch.rand_like(clean[:1])).detach()
    with torch.enable_grad():
        value = of_metric(by)(moved.requires_grad_(), {"clean": clean[:1]})
    return bool(value.requires_grad)
