"""Local gradient alignment (Joo et al., AAAI 2023), after its released code."""

from dataclasses import dataclass, field

import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from surefoot import gradients
from surefoot.gradients import Score
from surefoot.train import _paths
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._inner import Ball, around, random_point
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class LocalGradientAlignment(Ball):
    """CE(f(x), y) + lambda_l2 ||g - g_r||^2 + lambda_cos (1 - cos(g, g_r)) / 2.

    g and g_r are the input gradients at x and at a random x_r = x + U(-epsilon, epsilon), clipped
    to the bounds. Weights and epsilon are the released CIFAR-10 script's; that g is the gradient
    of the label's logit is this project's reading. Each term is a mean over the batch.
    Terms: `clean`, `l2`, `cosine` ((1 - cos) / 2).

    Args:
        epsilon: radius of the ball in input units.
        l2_weight: lambda_l2.
        cosine_weight: lambda_cos.
        score: what is differentiated, of the label's class.
        norm: "linf", or "l2" for x_r on the sphere.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = LocalGradientAlignment()(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'cosine', 'l2']
    """

    epsilon: float = 4 / 255
    l2_weight: float = field(default=0.01, kw_only=True)
    cosine_weight: float = field(default=0.1, kw_only=True)
    score: Score = field(default="logit", kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        budget = self.budget()
        x_r = random_point(batch, budget, around(batch, budget))
        logits, g = self._look(batch, batch.inputs)
        _, g_r = self._look(batch, x_r)
        apart = (g - g_r).square().sum(1).mean()
        turned = (1 - F.cosine_similarity(g, g_r)).mean() / 2
        return Parts(
            {
                "clean": (1.0, cross_entropy(logits, batch.labels)),
                "l2": (self.l2_weight, apart),
                "cosine": (self.cosine_weight, turned),
            }
        )

    def _look(self, batch: Batch, points: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and gradients (N, n) at points."""
        request = batch.request(points, create_graph=True)
        logits, (gradient,) = gradients.logits_and_gradients(request, _paths.named(self.score))
        return logits, gradient.flatten(1)

    def passes(self) -> Passes:
        return Passes(second_parameters=2)
