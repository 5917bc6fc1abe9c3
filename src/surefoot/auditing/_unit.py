"""The unit of work: one batch, one explainer, one attack or none, to numbers of each sample.

A pure function of its arguments, which hold all seeds: units can be made in any order, anywhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from surefoot import gradients
from surefoot.attack import AttackResult
from surefoot.auditing._loader import Batch
from surefoot.auditing._measures import Measure, Values, words
from surefoot.auditing._source import device_of
from surefoot.auditing._threat import NATURAL, NOTHING, Threat, threat_of
from surefoot.errors import SurefootError
from surefoot.explain import Explainer
from surefoot.maps import Layout, Reduction, layout_of

CLEAN = "clean"

Attack = Callable[..., AttackResult]


@dataclass(frozen=True)
class Trial:
    """An attack with its name in the tables.

    Attributes:
        name: in the tables.
        draws: what is run and averaged: the attack itself, or the draws of a control.
        control: name of the random signs of the same budget; None if there are none.
        stand_in: what an explainer that ignores its input gets instead, since nothing can be
            found there: one draw of random signs.
        is_control: whether this is one.
    """

    name: str
    draws: tuple[Attack, ...]
    control: str | None = None
    stand_in: tuple[Attack, ...] = ()
    is_control: bool = False


@dataclass(frozen=True)
class Unit:
    """What is measured, on whatever batch.

    Attributes:
        model: name and module.
        explainer: name and recipe.
        trial: the attack; None for the clean inputs.
        measures: the metrics.
        reduction: of the maps.
        layout: of the inputs, where the model does not say.
        is_control: whether explainer or attack is one.
    """

    model: tuple[str, nn.Module]
    explainer: tuple[str, Explainer]
    trial: Trial | None
    measures: Sequence[Measure]
    reduction: Reduction
    layout: Layout | None = None
    is_control: bool = False

    def layout_of(self, batch: Batch) -> Layout:
        """What the axes of a batch mean."""
        return layout_of(batch.inputs, self.model[1], self.layout)

    @property
    def attack(self) -> str:
        """The attack's name in the tables."""
        return CLEAN if self.trial is None else self.trial.name

    @property
    def threat(self) -> Threat:
        """Who does what to the explanation."""
        return NOTHING if self.trial is None else threat_of(self.trial.draws[0])

    def asked(self) -> list[Measure]:
        """The metrics that are measured here."""
        if self.trial is None:
            return [one for one in self.measures if not one.compares]
        return [one for one in self.measures if not one.once]


@dataclass(frozen=True, eq=False)
class Rows:
    """What one unit measured.

    Attributes:
        unit: model, explainer and attack.
        numbers: (n,), of the samples.
        labels: (n,), their classes.
        label_kept: (n,), False where no iterate kept the prediction and the sample counts as
            unchanged; under natural changes, where the prediction changed and the sample is left
            out.
        values: by metric, each (n,).
        error: why there are no values, "" where there are.
    """

    unit: Unit
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    label_kept: NDArray[np.bool_]
    values: Mapping[str, Values] = field(default_factory=dict)
    error: str = ""


def measured(unit: Unit, batch: Batch) -> Iterator[Rows]:
    """All numbers of one unit; where a sample cannot be measured, the others by themselves."""
    try:
        yield measure(unit, batch)
    except SurefootError as error:
        if len(batch) > 1:
            for one in range(len(batch)):
                yield from measured(unit, batch[one : one + 1])
            return
        values = {one.name: np.full(1, np.nan) for one in unit.asked()}
        kept = np.zeros(1, dtype=bool)
        yield Rows(unit, batch.numbers.numpy(), batch.labels.numpy(), kept, values, str(error))


def measure(unit: Unit, batch: Batch) -> Rows:
    """All numbers of one unit.

    Raises:
        SurefootError: explainer, attack or metric cannot do it; the message names them.
    """
    there = _with_companions(unit, batch.to(device_of(unit.model[1])))
    with gradients.numbered(there.numbers):
        if unit.trial is None:
            values, kept = _clean(unit, there), torch.ones(len(batch), dtype=torch.bool)
        else:
            values, kept = _attacked(unit, unit.trial, there)
    if unit.threat == NATURAL:  # a map of another prediction is not to be like the first
        out = ~kept.cpu().numpy()
        values = {name: np.where(out, np.nan, value) for name, value in values.items()}
    return Rows(unit, batch.numbers.numpy(), batch.labels.numpy(), kept.cpu().numpy(), values)


def _with_companions(unit: Unit, batch: Batch) -> Batch:
    """The batch with what goes along with its inputs also when they are moved, as tokens do."""
    told = gradients.companions(unit.model[1], [batch.inputs])
    return replace(batch, extra={**told, **batch.extra}) if told else batch


def _clean(unit: Unit, batch: Batch) -> dict[str, Values]:
    """Metrics of the map of the clean inputs, and of the explainer."""
    layout = unit.layout_of(batch)
    given = words(explained(unit, batch), unit.reduction, layout, **_fixed(unit, batch))
    given |= {"images": batch.inputs}
    return evaluate(unit.asked(), given, batch.extra, layout)


def explained(unit: Unit, batch: Batch) -> Tensor:
    """The explainer's map of the clean inputs, signed, (n, ...)."""
    (name, explainer), model = unit.explainer, unit.model[1]
    with blame(f"the explainer {name!r}"), gradients.numbered(batch.numbers):
        extra = dict(batch.extra) or None
        return explainer(
            model, batch.inputs, batch.labels, extra=extra, create_graph=False, layout=unit.layout
        )


def _attacked(unit: Unit, trial: Trial, batch: Batch) -> tuple[dict[str, Values], Tensor]:
    """Metrics of the map after an attack, and of the change; the mean over its draws."""
    each, kept = [], torch.zeros(len(batch), dtype=torch.bool, device=batch.inputs.device)
    for attack in trial.draws:
        with blame(f"the attack {trial.name!r} on the explainer {unit.explainer[0]!r}"):
            found = run(attack, unit, batch)
        each.append(_after(unit, found, batch))
        kept |= found.label_kept
    return {name: _mean([values[name] for values in each]) for name in each[0]}, kept


def run(attack: Attack, unit: Unit, batch: Batch) -> AttackResult:
    """One attack on one batch."""
    model, explainer = unit.model[1], unit.explainer[1]
    extra = dict(batch.extra) or None
    more = {} if unit.layout is None else {"layout": unit.layout}
    found = attack(model, batch.inputs, batch.labels, explainer, extra=extra, **more)
    if not isinstance(found, AttackResult):
        raise SurefootError(f"it gave a {type(found).__name__}, expected one attack.AttackResult")
    return found


def _after(unit: Unit, found: AttackResult, batch: Batch) -> dict[str, Values]:
    layout = unit.layout_of(batch)
    before = words(found.before, unit.reduction, layout)
    after = words(found.after, unit.reduction, layout)
    moved = {"images": found.inputs, **_fixed(unit, batch)}
    change = {
        **before,
        **moved,
        "images": batch.inputs,
        "b": after["a"],
        "h2": after["h"],
        "images2": found.inputs,
    }
    compared = [m for m in unit.asked() if m.compares]
    single = [m for m in unit.asked() if not m.compares]
    return {
        **evaluate(compared, change, batch.extra, layout),
        **evaluate(single, after | moved, batch.extra, layout),
    }


def _fixed(unit: Unit, batch: Batch) -> dict[str, object]:
    return {
        "model": unit.model[1],
        "explainer": unit.explainer[1],
        "target": batch.labels,
        "mask": batch.mask,
    }


def evaluate(
    measures: Sequence[Measure],
    given: dict[str, object],
    extra: Mapping[str, Tensor],
    layout: Layout,
) -> dict[str, Values]:
    """Each metric of what is given, by name."""
    found = {}
    for one in measures:
        with blame(f"the metric {one.name!r}"):
            found[one.name] = one(given, extra, layout)
    return found


def _mean(draws: Sequence[Values]) -> Values:
    """The mean over draws, NaN left out; NaN where all are."""
    stacked = np.stack(draws)
    known = (~np.isnan(stacked)).sum(0)
    total = np.nansum(stacked, 0)
    mean: Values = np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)
    return mean


@contextmanager
def blame(who: str) -> Iterator[None]:
    """Say who failed; what others' code raises becomes this library's error."""
    try:
        yield
    except SurefootError as error:
        raise SurefootError(f"{who} cannot be used here: {error}") from error
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise SurefootError(f"{who} fails ({type(error).__name__}: {error})") from error
