"""IG-NORM and IG-SUM-NORM: Robust Attribution Regularization (Chen et al., arXiv 1905.09957).

From the released code. Its losses are sums over the batch; here each is divided by the batch size,
so lambda and beta keep their values and the learning rate of plain SGD is to be multiplied by it.
"""

from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.train import _paths
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._inner import Adversarial
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class PathAdversarial(Adversarial):
    """An objective whose inner attack stretches the integrated gradients between x and x'.

    Args:
        steps: of the ascent.
        points: m of the outer integrated gradients.
        attack_points: of those inside the attack (m / approx_factor of the released code).
        chunk: inputs sent through the model at once; None chooses. Not part of the recipe.
    """

    steps: int = field(default=7, kw_only=True)
    points: int = field(default=50, kw_only=True)
    attack_points: int = field(default=5, kw_only=True)
    chunk: int | None = field(default=None, kw_only=True, repr=False, compare=False)

    def change(self, batch: Batch, moved: Tensor, points: int) -> tuple[Tensor, Tensor]:
        """Logits (N, K) at x', and G = IG^loss(x -> x'), (N, ...), with their graph.

        G = (x' - x) * 1/m sum_k grad_z (-log p_y(z_k)), z_k = x + (k/m) (x' - x).
        """
        request = batch.request(batch.inputs, create_graph=True)
        logits, (G,) = _paths.along(request, moved, points, _paths.loss, chunk=self.chunk)
        return logits, G

    def stretched(self, batch: Batch, *, loss: float, norm: float) -> Tensor:
        """The x' that maximises loss * CE(x') + norm * ||G_approx||_1, each sample by itself."""
        return self.worst(batch, partial(self._stretch, batch, loss, norm))

    def _stretch(self, batch: Batch, loss: float, norm: float, moved: Tensor) -> Tensor:
        logits, G = self.change(batch, moved, self.attack_points)
        return loss * _paths.loss(logits, batch.labels) + norm * length(G)

    def attack_passes(self) -> Passes:
        """What the inner attack costs."""
        return Passes(second_inputs=self.steps * self.attack_points)


def length(G: Tensor) -> Tensor:
    """||G||_1 of each sample, (N,)."""
    return G.flatten(1).abs().sum(1)


@dataclass(frozen=True, repr=False)
class IGNorm(PathAdversarial):
    """min CE(f(x), y) + lambda max ||IG^loss(x -> x')||_1 (IG-NORM; "ar" in the released code).

    x' maximises the norm alone, from a random start (at x itself the norm has no slope). Both
    terms are means over the batch (factor 1/N against the released sums). epsilon and steps are
    the released ones for GTSRB and Flower (with steps of 2/255); for Fashion-MNIST epsilon=0.1,
    steps=20, step_size=0.01, weight=1, points=50, attack_points=10; for MNIST epsilon=0.3 and
    steps=40. Terms: `clean`, `norm`.

    Args:
        weight: lambda.
        random_start: cannot be False.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = IGNorm(0.1, steps=2)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'norm']
    """

    weight: float = field(default=1.0, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.stretched(batch, loss=0.0, norm=1.0)
        clean = cross_entropy(batch.logits(batch.inputs), batch.labels)
        _, G = self.change(batch, moved, self.points)
        return Parts({"clean": (1.0, clean), "norm": (self.weight, length(G).mean())})

    def passes(self) -> Passes:
        return self.attack_passes() + Passes(parameters=1, second_parameters=self.points)

    def check(self) -> None:
        super().check()
        if not self.random_start:
            raise SurefootError("random_start=False: at x itself the norm has no slope to climb")


@dataclass(frozen=True, repr=False)
class IGSumNorm(PathAdversarial):
    """min max CE(f(x'), y) + beta ||IG^loss(x -> x')||_1 (IG-SUM-NORM; "adv_ar" in released code).

    x' maximises the same sum, with fewer points. Both terms are means over the batch (factor 1/N
    against the released sums). Defaults and settings are those of `IGNorm`, except for beta, which
    is 0.1 in all released configurations but GTSRB's (1.0). Terms: `adversarial`, `norm`.

    Args:
        weight: beta.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = IGSumNorm(0.1, steps=2)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['adversarial', 'norm']
    """

    weight: float = field(default=0.1, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.stretched(batch, loss=1.0, norm=self.weight)
        logits, G = self.change(batch, moved, self.points)
        adversarial = cross_entropy(logits, batch.labels)
        return Parts({"adversarial": (1.0, adversarial), "norm": (self.weight, length(G).mean())})

    def passes(self) -> Passes:
        return self.attack_passes() + Passes(second_parameters=self.points)
