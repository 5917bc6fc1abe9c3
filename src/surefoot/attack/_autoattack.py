"""AutoAttack (Croce and Hein, arXiv 2003.01690) through its authors' code, as packaged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot import errors
from surefoot.attack._prediction import PredictionAttack
from surefoot.budget import Box
from surefoot.errors import SurefootError
from surefoot.gradients import Query

Version = Literal["standard", "plus", "rand"]

_NORMS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True, repr=False)
class AutoAttack(PredictionAttack):
    """The ensemble of parameter-free attacks that adversarial accuracy is compared by.

    It needs `pip install "surefoot[autoattack]"` (the package pyautoattack). Images only, and
    bounds that are numbers: the model is given to it on the unit cube, which it assumes.

    Args:
        budget: an `Linf` or `L2`; only its epsilon and bounds are used.
        version: "standard", "plus" or "rand".
        attacks: names of single attacks, such as ("apgd-ce", "square"), in place of a version.
        batch_size: inputs at once; results depend on it.
        seed: of all its draws. The global random state is put back afterwards.
    """

    version: Version = field(default="standard", kw_only=True)
    attacks: tuple[str, ...] = field(default=(), kw_only=True)
    batch_size: int = field(default=250, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def search(self, request: Query, box: Box) -> Tensor:  # noqa: ARG002 (it goes by the budget)
        package = errors.optional("pyautoattack", "autoattack")
        low, high = self._numbers()
        inputs = request.inputs
        unit = (inputs - low) / (high - low)
        with torch.random.fork_rng(devices=_devices(inputs)), torch.enable_grad():
            ensemble = package.AutoAttack(
                UnitCube(request.model, low, high),
                norm=_NORMS[self.budget.norm],
                eps=self.budget.radius / (high - low),
                version="custom" if self.attacks else self.version,
                attacks=list(self.attacks) or None,
                seed=self.seed,
                device=inputs.device,
            )
            found, _ = ensemble.run_standard_evaluation(
                unit, request.target.clone(), batch_size=self.batch_size
            )
        return torch.where(found == unit, inputs, low + (high - low) * found.detach())

    def check(self, extra: Mapping[str, Tensor] | None) -> None:
        super().check(extra)
        errors.optional("pyautoattack", "autoattack")
        self._numbers()
        if extra:
            raise SurefootError("AutoAttack knows no extra inputs; bind them inside the model")

    def _numbers(self) -> tuple[float, float]:
        low, high = self.budget.bounds
        if isinstance(low, Tensor) or isinstance(high, Tensor):
            raise SurefootError("AutoAttack needs bounds that are numbers, such as (0, 1)")
        return float(low), float(high)


class UnitCube(nn.Module):
    """A model that takes inputs scaled to [0, 1]."""

    def __init__(self, model: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.model = model
        self.low, self.high = low, high
        self.training = model.training

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.model(self.low + (self.high - self.low) * inputs)
        return logits


def _devices(inputs: Tensor) -> list[torch.device]:
    return [inputs.device] if inputs.device.type == "cuda" else []
