"""Saliency Guided Training (Ismail, Corrada Bravo, Feizi, arXiv 2111.14338, Algorithm 1)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.maps import Count, channel_axis
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy, divergence
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes
from surefoot.train._places import bottom, check_places, logits_and_saliency, spread

Ranking = Literal["signed", "absolute"]
Fill = Literal["random", "mean"]


@dataclass(frozen=True, repr=False)
class SaliencyGuided(Objective):
    """min CE(f(x), y) + lambda KL(f(x) || f(x~)), x~ being x without its k least salient places.

    Saliency is the gradient of the label's logit in evaluation mode, averaged over channels. What
    is least salient is ambiguous, and both readings are here: the paper speaks of bottom gradient
    values; the released code ranks signed values unless told otherwise. The gradient flows through
    both arguments of the divergence, and the coefficient is 1, as in the released code.
    Terms: `clean`, `divergence`.

    Args:
        k: places masked, or their share if a float below 1 (0.5 in the released MNIST command).
        ranking: "signed" (the released code's default: the most negative gradients are masked) or
            "absolute" (the gradients closest to 0).
        fill: "random", uniform between a channel's least and largest value in the same image (the
            released MNIST command), "mean", the channel's mean, or a number.
        weight: lambda.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = SaliencyGuided()(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'divergence']
    """

    k: Count = 0.5
    ranking: Ranking = field(default="signed", kw_only=True)
    fill: Fill | float = field(default="random", kw_only=True)
    weight: float = field(default=1.0, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        masked = self.masked(batch)
        clean, there = batch.logits(batch.inputs), batch.logits(masked)
        apart = divergence("kl", clean, there, batch.labels).mean()
        label = cross_entropy(clean, batch.labels)
        return Parts({"clean": (1.0, label), "divergence": (self.weight, apart)})

    def masked(self, batch: Batch) -> Tensor:
        """x~, (N, ...)."""
        with eval_mode(batch.model):
            _, saliency = logits_and_saliency(batch)
        ranked = saliency.abs() if self.ranking == "absolute" else saliency
        mask = spread(bottom(ranked, self.k), batch)
        return torch.where(mask, self._filling(batch), batch.inputs)

    def _filling(self, batch: Batch) -> Tensor:
        x = batch.inputs
        if isinstance(self.fill, int | float):
            return torch.full_like(x, self.fill)
        if self.fill not in get_args(Fill):
            raise SurefootError(f"fill={self.fill!r}, choose one of {get_args(Fill)} or a number")
        # Records and tokens have no channels in dimension 1: the range of the whole sample.
        rows = x.flatten(2) if channel_axis(batch.layout) == 1 else x.flatten(1)
        shape = [*rows.shape[:-1], *[1] * (x.ndim - rows.ndim + 1)]
        if self.fill == "mean":
            return rows.mean(-1).view(shape).expand_as(x)
        low, high = rows.amin(-1).view(shape), rows.amax(-1).view(shape)
        return torch.lerp(low, high, batch.uniform())

    def check(self) -> None:
        super().check()
        check_places(self.k)

    def passes(self) -> Passes:
        return Passes(input_gradient=1, parameters=2)
