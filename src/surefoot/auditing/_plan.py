"""What an audit is asked for, checked and named before any work is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from surefoot import checks
from surefoot.attack import AttributionAttack, PredictionAttack
from surefoot.auditing._controls import RANDOM_MAP, RandomMap, control_names, random_signs
from surefoot.auditing._measures import Measure
from surefoot.auditing._source import Models
from surefoot.auditing._threat import NATURAL, threat_of
from surefoot.auditing._unit import CLEAN, Attack, Trial, Unit
from surefoot.budget import Budget
from surefoot.errors import SurefootError
from surefoot.explain import Explainer, as_explainer
from surefoot.maps import Count, Layout, Reduction
from surefoot.recipes import show


@dataclass(frozen=True)
class Plan:
    """Everything but the data.

    Attributes:
        models: by name.
        explainers: by name, the control last.
        trials: the attacks, then their controls.
        measures: the metrics.
        reduction: of the maps.
        layout: of the inputs, where the model does not say.
    """

    models: Models
    explainers: Mapping[str, Explainer]
    trials: Sequence[Trial]
    measures: Sequence[Measure]
    reduction: Reduction
    layout: Layout | None = None

    def units(self) -> Iterator[Unit]:
        """What is measured on every batch, in the order of the tables."""
        for model in self.models.items():
            for explainer in self.explainers.items():
                yield self._unit(model, explainer, None)
                for trial in self.trials:
                    ignores = isinstance(explainer[1], RandomMap)
                    if ignores and not trial.stand_in:
                        continue
                    meets = replace(trial, draws=trial.stand_in) if ignores else trial
                    yield self._unit(model, explainer, meets)

    def _unit(
        self, model: tuple[str, nn.Module], explainer: tuple[str, Explainer], trial: Trial | None
    ) -> Unit:
        control = isinstance(explainer[1], RandomMap) or (trial is not None and trial.is_control)
        asked = (self.measures, self.reduction, self.layout)
        return Unit(model, explainer, trial, *asked, control)

    def k(self) -> Count | None:
        """The k that all attacks which name one have in common."""
        attacks = [trial.draws[0] for trial in self.trials if not trial.is_control]
        named = {k for one in attacks if (k := getattr(one, "k", None)) is not None}
        return named.pop() if len(named) == 1 else None

    def bounds(self) -> list[checks.Bounds]:
        """The boxes that the attacks work in."""
        attacks = [trial.draws[0] for trial in self.trials if not trial.is_control]
        return [budget.bounds for one in attacks for budget in _budgets(one)]


def models(given: Any) -> dict[str, nn.Module]:
    """One model, or several by name.

    Raises:
        SurefootError: something else, or a model in training mode.
    """
    if isinstance(given, nn.ModuleDict):
        given = dict(given.items())
    found = dict(given) if isinstance(given, Mapping) else {"model": given}
    if not found:
        raise SurefootError("model is an empty mapping, expected a module or modules by name")
    for name, model in found.items():
        _check_name(name, "a model")
        try:
            checks.check_model(model)
        except SurefootError as error:
            raise SurefootError(f"the model {name!r} cannot be audited: {error}") from error
    return found


def explainers(given: Any, controls: bool, seed: int) -> dict[str, Explainer]:
    """The explainers by name, the control last.

    Raises:
        SurefootError: neither a mapping nor a sequence of explainers, the same name twice.
    """
    found = {n: as_explainer(e) for n, e in _named(given, "explainers", "Gradient()").items()}
    if not found:
        raise SurefootError('explainers is empty; write explainers={"gradient": Gradient()}')
    if not controls:
        return found
    if RANDOM_MAP in found:
        raise SurefootError(f"the name {RANDOM_MAP!r} is that of the control; choose another")
    return {**found, RANDOM_MAP: RandomMap(seed=seed)}


def trials(given: Any, draws: int, seed: int, reduction: Reduction) -> list[Trial]:
    """The attacks by name, one for each budget, then their random signs (none if `draws` is 0).

    Raises:
        SurefootError: neither a mapping nor a sequence of attacks, the same name twice, a budget
            or a reduction that does not fit.
    """
    example = "TopK(Linf(8 / 255), k=1000)"
    named = {} if given is None else _named(given, "attacks", example)
    single = [pair for name, one in named.items() for pair in _each_budget(name, one, reduction)]
    signs = {name: random_signs(b, draws, seed) for name, one in single for b in _budgets(one)}
    distinct = list(dict.fromkeys(drawn for drawn in signs.values() if drawn))
    called = dict(zip(distinct, control_names([drawn[0] for drawn in distinct]), strict=True))
    found = [
        Trial(name, (one,), called.get(signs.get(name, ())), _stand_in(one, signs.get(name, ())))
        for name, one in single
    ]
    found += [Trial(name, drawn, None, drawn[:1], True) for drawn, name in called.items()]
    names = [CLEAN, *(trial.name for trial in found)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SurefootError(
            f"two attacks have the name {twice[0]!r} (the audit's own are {CLEAN!r} and those of "
            "the controls); choose others"
        )
    return found


def _stand_in(one: Attack, signs: Sequence[Attack]) -> tuple[Attack, ...]:
    """What a map that ignores its input gets: nothing can be searched there, but all happens."""
    return (one,) if threat_of(one) == NATURAL else tuple(signs[:1])


def _named(given: Any, what: str, example: str) -> dict[str, Any]:
    """A mapping as it is, a sequence by the recipes' text."""
    if isinstance(given, Mapping):
        for name in given:
            _check_name(name, f"one of the {what}")
        return dict(given)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise SurefootError(
            f"{what} is {show(given)}, expected a mapping from names to {what} or a list of them; "
            f"write {what}={{'mine': {example}}} or [{example}]"
        )
    named = {show(one): one for one in given}
    if len(named) < len(given):
        raise SurefootError(
            f"{what} holds the same recipe twice; give names: {what}={{'one': ..., 'two': ...}}"
        )
    return named


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise SurefootError(f"{what} is called {name!r}, expected a text that names it")


def _each_budget(name: str, one: Any, reduction: Reduction) -> list[tuple[str, Attack]]:
    """An attack with several budgets as several attacks."""
    if isinstance(one, type) or not callable(one):
        raise SurefootError(
            f"the attack {name!r} is {show(one)}, expected one such as TopK(Linf(8 / 255))"
        )
    if isinstance(one, PredictionAttack):
        raise SurefootError(
            f"the attack {name!r} is {show(one)}, which attacks predictions; an audit takes attacks"
            " on explanations, such as TopK"
        )
    if not isinstance(one, AttributionAttack):
        return [(name, one)]
    if one.reduction != reduction:
        raise SurefootError(
            f"the attack {name!r} has reduction={one.reduction!r} and the audit {reduction!r}; what"
            " is attacked must be what is scored: give both the same"
        )
    budgets = _budgets(one)
    if len(budgets) == 1:
        return [(name, replace(one, budget=budgets[0]))]
    short = [f"{name} {budget.norm} {budget.radius:.4g}" for budget in budgets]
    texts = short if len(set(short)) == len(short) else [f"{name} {b!r}" for b in budgets]
    return [(text, replace(one, budget=b)) for text, b in zip(texts, budgets, strict=True)]


def _budgets(one: Attack) -> list[Budget]:
    """The budgets of an attack, checked; none for what is just a callable."""
    given = getattr(one, "budget", ())
    found = list(given) if isinstance(given, Sequence) else [given]
    if isinstance(one, AttributionAttack) and not all(isinstance(b, Budget) for b in found):
        raise SurefootError(f"{show(one)} has budget={given!r}, expected attack.Linf or attack.L2")
    each = [single for budget in found if isinstance(budget, Budget) for single in budget.each()]
    for budget in each:
        budget.check()
    return each


def check_masks(measures: Sequence[Measure], masks: str | Tensor | None) -> None:
    """Raise if a metric asks for masks and there are none."""
    asking = [measure.name for measure in measures if "mask" in measure.needs]
    if asking and masks is None:
        raise SurefootError(
            f"{', '.join(asking)} compare maps with objects, but no masks are given; pass "
            "masks=tensor, one bool map a sample in the loader's order, or masks='name' where the "
            "batches are (inputs, labels, {'name': masks})"
        )
    if not (masks is None or isinstance(masks, str | Tensor)):
        raise SurefootError(f"masks is a {type(masks).__name__}, expected a tensor or a name")
