"""What every attack on predictions is: a recipe called as `attack(model, inputs, labels)`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.attack._room import box_of
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootError
from surefoot.gradients import Inputs, Query
from surefoot.recipes import Recipe


@dataclass(frozen=True, repr=False)
class PredictionResult:
    """Adversarial inputs and what the model says of them.

    Attributes:
        attack: the recipe.
        originals: (N, ...), the clean inputs; of several inputs a tuple, here and below.
        inputs: (N, ...), each sample's worst iterate, or the clean input where that is worst.
        labels: (N,), what should be predicted; of a targeted attack what should not.
        predictions: (N,), what is.

    >>> from surefoot.attack import FGSM, Linf
    >>> net = nn.Linear(2, 2).eval()
    >>> _ = nn.init.eye_(net.weight), nn.init.zeros_(net.bias)
    >>> inputs = torch.tensor([[0.5, 0.4], [0.9, 0.1]])
    >>> found = FGSM(Linf(0.1))(net, inputs, torch.tensor([0, 0]))
    >>> found.predictions, found.robust
    (tensor([1, 0]), tensor([False,  True]))
    """

    attack: Recipe
    originals: Tensor
    inputs: Tensor
    labels: Tensor
    predictions: Tensor

    @property
    def robust(self) -> Tensor:
        """Whether the label is still predicted, (N,) bool; its mean is the accuracy.

        Of a targeted attack whether the class wanted is not.
        """
        reached = self.predictions == self.labels
        return ~reached if getattr(self.attack, "targeted", False) else reached

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: int | slice | Tensor) -> "PredictionResult":
        """The result of some samples; a number gives a batch of one."""
        if isinstance(which, int):
            which = range(len(self))[which]
            which = slice(which, which + 1)
        names = ("originals", "inputs", "labels", "predictions")
        each = {name: getattr(self, name) for name in names}
        return replace(self, **{name: rows_of(value, which) for name, value in each.items()})

    def __repr__(self) -> str:
        share = self.robust.float().mean()
        return f"PredictionResult({self.attack!r}: {share:.1%} of {len(self)} still right)"


def rows_of(value: Any, which: slice | Tensor) -> Any:
    """Some rows of a tensor, or of each in a tuple."""
    return tuple(one[which] for one in value) if isinstance(value, tuple) else value[which]


@dataclass(frozen=True, repr=False)
class PredictionAttack(Recipe, ABC):
    """An attack on predictions: `attack(model, inputs, labels) -> PredictionResult`.

    Args:
        budget: an `Linf` or `L2`.
        targeted: whether the labels given are the classes wanted, in place of those to be lost.

    >>> from surefoot.attack import PGD, Linf
    >>> attack = PGD(Linf(0.1, steps=5), targeted=True)
    >>> isinstance(attack, PredictionAttack), attack
    (True, PGD(Linf(0.1, steps=5), targeted=True))
    """

    budget: Budget
    targeted: bool = field(default=False, kw_only=True)

    def __call__(
        self,
        model: nn.Module,
        inputs: Inputs,
        labels: checks.Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> PredictionResult:
        """Attack the predictions of a batch.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point (N, ...), inside the budget's bounds; or a tuple of several,
                as in `AttributionAttack`.
            labels: the classes to be lost, one or (N,); None takes the clean predictions. Of a
                targeted attack the classes wanted.
            extra: further keyword inputs of the model, leading dimension N.

        Returns:
            A `PredictionResult`, its predictions made afresh.

        Raises:
            SurefootError: inputs outside the bounds, a setting out of range.
        """
        self.check_kinds()
        self.check(extra)
        if self.targeted and labels is None:
            raise SurefootError("a targeted attack needs labels: the classes wanted")
        with torch.inference_mode(False), torch.no_grad():
            request = gradients.query(model, inputs, labels, extra, False, several=True)
            worst = self.search(request, box_of(request, self.budget))
        predictions = gradients.predict(request.model, worst, request.extra).argmax(1)
        clean, found = request.returned(request.inputs), request.returned(worst)
        return PredictionResult(self, clean, found, request.target, predictions)

    @abstractmethod
    def search(self, request: Query, box: Box) -> Tensor:
        """The inputs found, (n, ...), without a graph."""

    def check(self, extra: Mapping[str, Tensor] | None) -> None:  # noqa: ARG002 (for some attacks)
        """Raise unless every setting is in its range and all that is given can be used."""
        if not isinstance(self.budget, Budget):
            raise SurefootError(
                f"budget={self.budget!r}, expected attack.Linf(epsilon) or attack.L2(epsilon)"
            )
        self.budget.check()
