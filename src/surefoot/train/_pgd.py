"""Adversarial training with PGD (Madry et al., arXiv 1706.06083, Eq. 2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._inner import loss_at
from surefoot.train._passes import Passes
from surefoot.train._robust import Robust


@dataclass(frozen=True, repr=False)
class PGD(Robust):
    """min max CE(f(x'), y) over x' in the ball around x, by projected ascent from a random start.

    The defaults are the released code's for CIFAR-10: 8/255, 10 steps of 2/255. Training sees
    adversarial inputs only. With epsilon 0 it is `Natural`. Terms: `adversarial`.

    >>> PGD(0.1, steps=20, step_size=0.01)
    PGD(epsilon=0.1, steps=20, step_size=0.01)
    """

    def evaluate(self, batch: Batch) -> Parts:
        logits = batch.logits(self.moved(batch))
        return Parts(self.terms(batch.labels, logits, logits))

    def moved(self, batch: Batch) -> Tensor:
        return self.worst(batch, loss_at(batch))

    def terms(
        self,
        labels: Tensor,
        clean: Tensor,  # noqa: ARG002 (trains on adversarial inputs only)
        moved: Tensor,
    ) -> Mapping[str, tuple[float, Tensor]]:
        return {"adversarial": (1.0, cross_entropy(moved, labels))}

    def passes(self) -> Passes:
        return Passes(input_gradient=self.steps, parameters=1)
