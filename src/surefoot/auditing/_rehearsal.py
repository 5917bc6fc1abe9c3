"""A run on one sample, as cheap as can be, so that what cannot work fails at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from surefoot import gradients
from surefoot.attack import AttributionAttack
from surefoot.auditing._controls import RandomMap
from surefoot.auditing._loader import Batch
from surefoot.auditing._measures import Measure, words
from surefoot.auditing._plan import Plan
from surefoot.auditing._source import device_of
from surefoot.auditing._unit import Attack, Unit, blame, evaluate, explained, run
from surefoot.maps import Layout


def rehearse(plan: Plan, batch: Batch) -> Plan:
    """The plan, its metrics fitted to the size of the maps, after one sample went through.

    Every explainer is called; every metric on a map of the first, metrics of explainers with a
    random map in place of it; every attack with a single step.

    Raises:
        SurefootError: one of them cannot work; the message names it.
    """
    one = batch[:1]
    units = list(plan.units())
    for model in plan.models:
        clean = [u for u in units if u.trial is None and u.model[0] == model]
        maps = [explained(unit, one.to(device_of(unit.model[1]))) for unit in clean]
        measures = _fitted(plan, maps[0], clean[0].layout_of(one))
        _try_measures(measures, clean[0], one, maps[0])
    for unit in units:
        if unit.trial is not None and not unit.is_control:
            _try_attack(unit, one)
    return replace(plan, measures=measures)


def _fitted(plan: Plan, maps: Tensor, layout: Layout) -> Sequence[Measure]:
    with blame(f"reduction={plan.reduction!r}"):
        entries = words(maps, plan.reduction, layout)["a"][0].numel()
    return [measure.fit(entries, plan.k()) for measure in plan.measures]


def _try_measures(measures: Sequence[Measure], unit: Unit, one: Batch, maps: Tensor) -> None:
    there, layout = one.to(maps.device), unit.layout_of(one)
    given = words(
        maps,
        unit.reduction,
        layout,
        model=unit.model[1],
        images=there.inputs,
        images2=there.inputs,
        explainer=RandomMap(),
        target=there.labels,
        mask=there.mask,
    )
    given |= {"b": given["a"], "h2": given["h"]}
    evaluate(measures, given, there.extra, layout)


def _try_attack(unit: Unit, one: Batch) -> None:
    if unit.trial is None:
        return
    there = one.to(device_of(unit.model[1]))
    for attack in unit.trial.draws:
        who = f"the attack {unit.trial.name!r} on the explainer {unit.explainer[0]!r}"
        with blame(who), gradients.numbered(there.numbers):
            run(_short(attack), unit, there)


def _short(attack: Attack) -> Attack:
    """The attack with a single step, where it is one of this library's."""
    if not isinstance(attack, AttributionAttack):
        return attack
    budget = cast("Any", attack.budget)
    once = replace(budget, steps=min(1, budget.steps), restarts=1)
    return replace(attack, budget=once, restarts=None, progress=False, trace=False)
