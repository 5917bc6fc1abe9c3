"""What an audit is asked for, in one object that is checked when it is made."""

import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from torch import Tensor, nn

from surefoot import errors
from surefoot.auditing import _plan
from surefoot.auditing._data import Data, names_of
from surefoot.auditing._loader import Masks
from surefoot.auditing._metrics import measures
from surefoot.auditing._plan import Plan
from surefoot.auditing._source import Source
from surefoot.auditing._work import code_digest
from surefoot.checks import check_whole
from surefoot.errors import SurefootError
from surefoot.maps import Layout, Reduction, check_layout
from surefoot.metric import Metric
from surefoot.recipes import digest, show
from surefoot.typed import check_kinds

METRICS = ("topk_intersection", "spearman", "sensitivity", "gini")
_WHOLE = ("limit", "block", "batch_size", "draws")
_TOLD = ("reduction", "layout", "limit", "block", "batch_size", "controls", "draws", "seed")


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """All but the model, the data and where and by whom it is run; see `audit` for each.

    Raises:
        SurefootError: a number out of its range.
        MissingExtraError: pandas, pyarrow or scipy is not installed.
    """

    explainers: Any
    attacks: Any = None
    metrics: Mapping[str, Any] | Sequence[str | Metric | Any] = METRICS
    reduction: Reduction = "sum_abs"
    layout: Layout | None = None
    limit: int | None = None
    block: int = 64
    batch_size: int | None = None
    masks: Masks = None
    names: Sequence[str] | None = None
    controls: bool = True
    draws: int = 5
    seed: int = 0
    about: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in _WHOLE:
            value = getattr(self, name)
            if value is not None or name in ("block", "draws"):
                check_whole(name, value, 1)
        check_kinds("audit", {"controls": self.controls}, {"controls": bool})
        if self.layout is not None:
            check_layout(self.layout)
        if not isinstance(self.about, Mapping | None):
            raise SurefootError(f"about is a {type(self.about).__name__}, expected a mapping")
        for package in ("pandas", "pyarrow", "scipy.stats"):
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

    def source(self, data: Data, plan: Plan) -> Source:
        """Which samples of the data are audited; raises where their numbers would be wrong."""
        together = min(self.batch_size or self.block, self.block)
        if data.shuffled and self.limit is not None:
            raise SurefootError(
                f"the loader shuffles, so that chance would say which samples limit={self.limit} "
                "takes; give shuffle=False, or a torch.utils.data.Subset of the samples you want"
            )
        rows = {"masks": self.masks, "names": self.names}
        for name, given in rows.items():
            if given is None or (name == "masks" and isinstance(given, str)):
                continue
            number = _number(name, given)
            if data.shuffled and data.size is None:
                raise SurefootError(
                    f"the loader takes samples in an order of its own, so that {name} would meet "
                    "the wrong ones; give shuffle=False and no sampler of your own"
                )
            if data.size is not None and number != data.size:
                more = f"{data.size} samples"
                if number < data.size:
                    more = f"sample number {data.size - 1}"
                raise SurefootError(
                    f"{name} has {number} rows, but the loader has {more}; give one row for each "
                    "sample, in the order of the data set"
                )
        box = plan.bounds()
        return Source(data, plan.models, self.masks, self.limit, self.block, together, box)

    def named(self, data: Data) -> Sequence[str] | None:
        """A name for each sample: those that were given, or else the data set's."""
        names = names_of(data) if self.names is None else [str(name) for name in self.names]
        # Names of files that are no UTF-8 hold what cannot be written.
        safe = [name.encode("utf-8", "backslashreplace").decode() for name in names or ()]
        return None if names is None else safe

    def facts(self, plan: Plan, data: Mapping[str, Any]) -> dict[str, Any]:
        """What the results depend on, as JSON has it; `data` says which samples."""
        masks = {"masks": digest(self.masks) if isinstance(self.masks, Tensor) else self.masks}
        found = {
            "models": {name: _described(model) for name, model in plan.models.items()},
            "explainers": {name: show(one) for name, one in plan.explainers.items()},
            "attacks": {trial.name: show(trial.draws[0]) for trial in plan.trials},
            "floors": {trial.name: trial.control for trial in plan.trials if trial.control},
            "metrics": {one.name: one.facts() for one in plan.measures},
            **{name: getattr(self, name) for name in _TOLD},
            **masks,
            "data": dict(data),
            "software": {"surefoot": code_digest(), "torch": version("torch")},
        }
        return dict(json.loads(json.dumps(found, default=operator.index)))


def _number(name: str, given: Any) -> int:
    """How many rows there are of what goes by sample."""
    try:
        if not isinstance(given, str | Mapping):
            return len(given)
    except TypeError:
        pass
    raise SurefootError(
        f"{name} is a {type(given).__name__}, expected a row for each sample, in the order of the "
        "data set"
    )


def identity(facts: Mapping[str, Any]) -> str:
    """What tells an audit from any other."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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
