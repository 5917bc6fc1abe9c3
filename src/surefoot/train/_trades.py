"""TRADES (Zhang et al., arXiv 1901.08573), after its released code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy, divergence
from surefoot.train._inner import around, ascend
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes
from surefoot.train._robust import Robust

_NUDGE = 0.001


@dataclass(frozen=True, repr=False)
class TRADES(Robust):
    """min CE(f(x), y) + beta max KL(p(x) || p(x')), x' raising that divergence.

    The ascent starts at x + 0.001 N(0, 1), because the divergence has no slope at x. Defaults are
    the released CIFAR-10 command's: 0.031, 10 steps of 0.007, beta 6. With epsilon 0 it is
    `Natural`. Terms: `clean`, `divergence`.

    Args:
        epsilon: radius of the ball in input units.
        weight: beta.
        step_size: None is 2.5 epsilon / steps.
        random_start: cannot be False.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = TRADES(0.1, steps=2)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'divergence']
    """

    epsilon: float = 0.031
    weight: float = field(default=6.0, kw_only=True)
    step_size: float | None = field(default=0.007, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.moved(batch)
        clean = batch.logits(batch.inputs)
        return Parts(self.terms(batch.labels, clean, batch.logits(moved)))

    def moved(self, batch: Batch) -> Tensor:
        budget = self.budget()
        box = around(batch, budget)
        start = budget.project(batch.inputs + _NUDGE * batch.normal(), box)
        with eval_mode(batch.model):
            with torch.no_grad():
                clean = batch.logits(batch.inputs)
            return ascend(budget, box, start, partial(_apart, batch, clean))

    def terms(
        self, labels: Tensor, clean: Tensor, moved: Tensor
    ) -> Mapping[str, tuple[float, Tensor]]:
        apart = divergence("kl", clean, moved, labels).mean()
        return {"clean": (1.0, cross_entropy(clean, labels)), "divergence": (self.weight, apart)}

    def passes(self) -> Passes:
        return Passes(forward=1, input_gradient=self.steps, parameters=2)

    def check(self) -> None:
        super().check()
        if not self.random_start:
            raise SurefootError(
                "random_start=False: the divergence has no slope at x; TRADES starts beside it"
            )


def _apart(batch: Batch, clean: Tensor, points: Tensor) -> Tensor:
    return divergence("kl", clean, batch.logits(points), batch.labels)
