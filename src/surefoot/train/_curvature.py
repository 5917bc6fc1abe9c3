"""SSR: smooth surface regularisation (Wang et al., NeurIPS 2020), after its released code."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.errors import SurefootError
from surefoot.explain import reduce
from surefoot.maps import Layout, rows
from surefoot.train._base import Objective, Parts, is_weight
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class SmoothedCurvature(Objective):
    """(1 - alpha) CE + alpha s lambda_max(W (diag(p) - p p^T) W^T), W the Jacobian of the logits.

    The largest eigenvalue of the cross-entropy's Hessian in the input, for a piecewise linear
    model; W (n, K) is averaged over channels as released. With B = diag(sqrt p)(I - sqrt p sqrt
    p^T), B B^T = diag(p) - p p^T, so it is the largest eigenvalue of the K x K matrix (W B)^T W B.
    K backward passes through the inputs; alpha and s are the released command's. Mean over the
    batch. Terms: `clean`, `curvature`.

    Args:
        alpha: share of the curvature term, in [0, 1].
        scale: s.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = SmoothedCurvature()(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'curvature']
    """

    alpha: float = 0.3
    scale: float = field(default=0.3, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        request = batch.request(batch.inputs, create_graph=True)
        logits, jacobian = gradients.logits_and_jacobian(request)
        clean = cross_entropy(logits, batch.labels)
        curvature = largest(jacobian, logits, batch.layout).mean()
        return Parts(
            {"clean": (1 - self.alpha, clean), "curvature": (self.alpha * self.scale, curvature)}
        )

    def passes(self, classes: int = 10) -> Passes:
        """What one step costs, for a model of so many classes."""
        return Passes(second_parameters=classes, forward=1 - classes)

    def check(self) -> None:
        super().check()
        if not 0 <= self.alpha <= 1 or not is_weight(self.scale):
            raise SurefootError(
                f"alpha={self.alpha!r}, scale={self.scale!r}: expected alpha in [0, 1], and a "
                "finite scale >= 0"
            )


def largest(jacobian: list[Tensor], logits: Tensor, layout: Layout | None = None) -> Tensor:
    """lambda_max of W (diag(p) - p p^T) W^T, (N,), from K gradients (N, ...) and logits (N, K)."""
    W = torch.stack([rows(reduce(column, "mean", layout)) for column in jacobian], 2)
    # Not the root of p, whose slope is infinite where p underflows to 0.
    root = (logits.log_softmax(1) / 2).exp()[:, None]
    scaled = W * root
    # W B = W diag(sqrt p) - (W p) sqrt(p)^T
    WB = scaled - (scaled * root).sum(2, keepdim=True) * root
    with torch.autocast(WB.device.type, enabled=False):
        gram = WB.transpose(1, 2) @ WB
    # The solver raises on NaN; the objective should say which term has it.
    bad = ~torch.isfinite(gram).all(2).all(1)
    values: Tensor = torch.linalg.eigvalsh(gram.masked_fill(bad[:, None, None], 0))
    return values[:, -1].masked_fill(bad, torch.nan)
