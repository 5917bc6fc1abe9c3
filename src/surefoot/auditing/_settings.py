"""What an audit is asked for, in one object that is checked when it is made."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from surefoot import errors
from surefoot.auditing import _plan
from surefoot.auditing._batches import Source, Tally
from surefoot.auditing._metrics import measures
from surefoot.auditing._plan import Plan
from surefoot.checks import check_whole
from surefoot.maps import Layout, Reduction, check_layout
from surefoot.recipes import digest, show
from surefoot.version import versions

_RECORDED = ("reduction", "layout", "limit", "batch_size", "draws", "seed")


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """All but the model, the data and where results go; see `audit` for each.

    Raises:
        SurefootError: a number out of its range.
        MissingExtraError: pandas or scipy is not installed.
    """

    explainers: Any
    attacks: Any
    metrics: Any
    reduction: Reduction
    layout: Layout | None
    limit: int | None
    batch_size: int
    masks: str | Tensor | None
    controls: bool
    draws: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("limit", "batch_size", "draws"):
            value = getattr(self, name)
            if (name, value) != ("limit", None):
                check_whole(name, value, 1)
        if self.layout is not None:
            check_layout(self.layout)
        for package in ("pandas", "scipy.stats"):
            errors.optional(package, "audit")

    def plan(self, model: Any) -> Plan:
        """Models, explainers, attacks and metrics by name; raises for what cannot be used."""
        draws = self.draws if self.controls else 0
        trials = _plan.trials(self.attacks, draws, self.seed, self.reduction)
        models = _plan.models(model)
        explainers = _plan.explainers(self.explainers, self.controls, self.seed)
        found = measures(self.metrics, bool(trials))
        _plan.check_masks(found, self.masks)
        return Plan(models, explainers, trials, found, self.reduction, self.layout)

    def source(self, loader: Any, plan: Plan) -> Source:
        """Which samples of the data are audited."""
        return Source(loader, plan.models, self.masks, self.limit, self.batch_size, plan.bounds())

    def facts(self, plan: Plan, tally: Tally) -> dict[str, Any]:
        """What the audit was, as JSON has it."""
        return {
            "models": {name: _described(model) for name, model in plan.models.items()},
            "explainers": {name: repr(one) for name, one in plan.explainers.items()},
            "attacks": {trial.name: show(trial.draws[0]) for trial in plan.trials},
            "floors": {trial.name: trial.control for trial in plan.trials if trial.control},
            "metrics": {one.name: one.facts() for one in plan.measures},
            **{name: getattr(self, name) for name in _RECORDED},
            "samples": asdict(tally),
            "versions": versions("torch", "numpy", "pandas", "scipy"),
        }


def _described(model: nn.Module) -> Mapping[str, str]:
    """The class of a model, and a digest of its parameters and buffers."""
    every = hashlib.sha256()
    for name, value in model.state_dict().items():
        every.update(f"{name} {digest(value) if isinstance(value, Tensor) else value!r}".encode())
    kind = type(model)
    return {
        "type": f"{kind.__module__}:{kind.__qualname__}",
        "state": f"sha256:{every.hexdigest()}",
    }
