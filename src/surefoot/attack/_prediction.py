"""What every attack on predictions is: a recipe called as `attack(model, inputs, labels)`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.recipes import Recipe


@dataclass(frozen=True, repr=False)
class PredictionResult:
    """Adversarial inputs and what the model says of them.

    Attributes:
        attack: the recipe.
        originals: (N, ...), the clean inputs.
        inputs: (N, ...), each sample's worst iterate, or the clean input where that is worst.
        labels: (N,), what should be predicted.
        predictions: (N,), what is.
    """

    attack: Recipe
    originals: Tensor
    inputs: Tensor
    labels: Tensor
    predictions: Tensor

    @property
    def robust(self) -> Tensor:
        """Whether the label is still predicted, (N,) bool; its mean is the accuracy."""
        return self.predictions == self.labels

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, which: int | slice | Tensor) -> "PredictionResult":
        """The result of some samples; a number gives a batch of one."""
        if isinstance(which, int):
            which = range(len(self))[which]
            which = slice(which, which + 1)
        names = ("originals", "inputs", "labels", "predictions")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def __repr__(self) -> str:
        share = self.robust.float().mean()
        return f"PredictionResult({self.attack!r}: {share:.1%} of {len(self)} still right)"


@dataclass(frozen=True, repr=False)
class PredictionAttack(Recipe, ABC):
    """An attack on predictions: `attack(model, inputs, labels) -> PredictionResult`.

    Args:
        budget: an `Linf` or `L2`.
    """

    budget: Budget

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
    ) -> PredictionResult:
        """Attack the predictions of a batch.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point (N, ...), inside the budget's bounds.
            labels: the classes to be lost, one or (N,); None takes the clean predictions.
            extra: further keyword inputs of the model, leading dimension N.

        Returns:
            A `PredictionResult`, its predictions made afresh.

        Raises:
            SurefootError: inputs outside the bounds, a setting out of range.
        """
        self.check(extra)
        with torch.inference_mode(False), torch.no_grad():
            request = gradients.query(model, inputs, labels, extra, create_graph=False)
            low, high = checks.check_bounds(request.inputs, self.budget.bounds)
            worst = self.search(request, Box(request.inputs, low, high))
        predictions = gradients.predict(request.model, worst, request.extra).argmax(1)
        return PredictionResult(self, request.inputs, worst, request.target, predictions)

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
