"""Adversarial training with the fast gradient sign (Goodfellow et al., arXiv 1412.6572, sec. 6)."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from surefoot.budget import Budget
from surefoot.errors import SurefootError
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._inner import Ball, around, ascend, loss_at
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class FGSM(Ball):
    """alpha CE(f(x), y) + (1 - alpha) CE(f(x + epsilon sign grad_x CE(f(x), y)), y).

    One step of the whole radius from the clean input. With epsilon 0 or alpha 1 it is `Natural`.
    Terms: `clean`, `adversarial`; one of weight 0 costs nothing.

    Args:
        alpha: weight of the clean term, in [0, 1]; 0.5 is the paper's.
        norm: "linf", or "l2" for a step along the normalised gradient.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = FGSM(0.1)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['adversarial', 'clean']
    """

    alpha: float = field(default=0.5, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        terms = {}
        if self.alpha < 1:
            there = cross_entropy(batch.logits(self.moved(batch)), batch.labels)
            terms["adversarial"] = (1 - self.alpha, there)
        if self.alpha > 0:
            here = cross_entropy(batch.logits(batch.inputs), batch.labels)
            terms["clean"] = (self.alpha, here)
        return Parts(terms)

    def moved(self, batch: Batch) -> Tensor:
        """The x' of the step, (N, ...)."""
        budget = self.budget()
        with eval_mode(batch.model):
            box = around(batch, budget)
            return ascend(budget, box, batch.inputs, loss_at(batch))

    def budget(self) -> Budget:
        return replace(super().budget(), steps=1, step_size=self.epsilon)

    def passes(self) -> Passes:
        attacks, cleans = int(self.alpha < 1), int(self.alpha > 0)
        return Passes(input_gradient=attacks, parameters=attacks + cleans)

    def check(self) -> None:
        super().check()
        if not 0 <= self.alpha <= 1:
            raise SurefootError(f"alpha={self.alpha!r}, expected a number in [0, 1]")
