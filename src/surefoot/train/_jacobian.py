"""Jacobian regularisation (Hoffman et al., arXiv 1908.02729), after its released code."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from surefoot import gradients
from surefoot.errors import SurefootError
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._passes import Passes

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class JacobianRegularization(Objective):
    """CE(f(x), y) + lambda ||J||_F^2 / 2, J = df / dx; the mean over the batch.

    ||J||_F^2 is estimated without bias by K / n sum ||J^T v||^2 over n random unit vectors v of
    the K classes. Terms: `clean`, `jacobian` (the estimate, halved).

    Args:
        weight: lambda (0.01 in the released README).
        projections: n.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = JacobianRegularization()(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'jacobian']
    """

    weight: float = 0.01
    projections: int = field(default=1, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        scores = [_projection(batch) for _ in range(self.projections)]
        request = batch.request(batch.inputs, create_graph=True)
        logits, products = gradients.logits_and_gradients(request, *scores)
        squares = sum((p.flatten(1).square().sum(1) for p in products), logits.new_zeros(()))
        half = logits.shape[1] / self.projections * squares.mean() / 2
        clean = cross_entropy(logits, batch.labels)
        return Parts({"clean": (1.0, clean), "jacobian": (self.weight, half)})

    def passes(self) -> Passes:
        return Passes(second_parameters=self.projections, forward=1 - self.projections)

    def check(self) -> None:
        super().check()
        if self.projections < 1:
            raise SurefootError(f"projections={self.projections!r}, expected at least 1")


def _projection(batch: Batch) -> Score:
    """V . f(x) with a random unit vector v for each sample."""

    def projected(logits: Tensor, _labels: Tensor) -> Tensor:
        v = F.normalize(batch.normal(logits.detach()), dim=1)
        return (v * logits).sum(1)

    return projected
