"""SmoothGrad (arXiv 1706.03825), its squared form (1806.10758) and VarGrad (1810.03307)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot import draws
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer, as_explainer
from surefoot.explain._gradient import Gradient
from surefoot.gradients import Query, single, sum_blocks

Statistic = Literal["mean", "square", "variance"]


@dataclass(frozen=True, repr=False)
class SmoothGrad(Explainer):
    """The mean (or mean square, or variance) of an explainer's maps over noisy inputs.

    E(x) = 1/n sum_j base(x + g_j), g_j ~ N(0, std^2) (Smilkov et al., arXiv 1706.03825); "square"
    averages base^2 (Hooker et al., 1806.10758), "variance" is the population variance over the
    draws (VarGrad, Adebayo et al., 1810.03307), computed by a stable update. The noise depends
    on `seed` and the draw's number alone, is shared by all samples, and is not clipped to any
    bounds. The target is resolved on the clean inputs.

    Args:
        base: the explainer that is smoothed, or a callable (model, inputs, target).
        samples: number of noise draws n.
        std: standard deviation of the noise in input units (0.15 of pixels in [0, 1] lies in the
            10 to 20 % the paper recommends).
        seed: of the noise.
        statistic: "mean" (default), "square" or "variance".

    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Linear(4, 3).eval()  # its gradient is the same everywhere
    >>> maps = (SmoothGrad(Gradient(), samples=3), Gradient())
    >>> torch.allclose(*(e(net, torch.zeros(1, 4), 0) for e in maps))
    True
    """

    base: Explainer = Gradient()  # noqa: RUF009 (frozen, holds settings only)
    samples: int = 50
    std: float = 0.15
    seed: int = 0
    statistic: Statistic = "mean"

    def attribute(self, request: Query) -> Tensor:
        self._check()
        base, inputs = as_explainer(self.base), request.inputs

        def compute(block: Block) -> Tensor:
            noise = self.std * draws.normal(self.seed, block.variants, inputs)
            points = inputs[block.samples, None] + noise
            maps = base.attribute(request.take(block.samples).expand(points))
            return maps.view_as(points)

        rows = rows_per_batch(inputs, self.chunk)
        parts = each_block(len(inputs), self.samples, rows, compute)
        if self.statistic == "variance":
            return _variance(parts, inputs)
        power = 2 if self.statistic == "square" else 1
        sums = ((block, (single(maps) ** power).sum(1)) for block, maps in parts)
        return sum_blocks(sums, inputs) / self.samples

    def _check(self) -> None:
        if self.samples < 1 or not self.std >= 0:
            raise SurefootError(
                f"samples={self.samples}, std={self.std}: expected samples >= 1 and std >= 0"
            )
        if self.statistic not in get_args(Statistic):
            raise SurefootError(
                f"statistic={self.statistic!r}, choose one of {get_args(Statistic)}"
            )


def _variance(parts: Iterator[tuple[Block, Tensor]], inputs: Tensor) -> Tensor:
    """Population variance over variants, by the pairwise update of Chan, Golub and LeVeque."""
    like = single(inputs.detach())
    mean, spread = torch.zeros_like(like), torch.zeros_like(like)
    count = like.new_zeros(len(like), *[1] * (like.ndim - 1))
    for (samples, _), maps in ((block, single(maps)) for block, maps in parts):
        more = maps.shape[1]
        total = count[samples] + more
        # Means are taken of differences to the first map, so that equal maps give exactly 0.
        first = maps[:, :1]
        apart = maps - first
        centre = apart.mean(1, keepdim=True)
        shift = (first + centre)[:, 0] - mean[samples]
        within = (apart - centre).square().sum(1)
        spread[samples] += within + shift.square() * (count[samples] * more / total)
        mean[samples] += shift * (more / total)
        count[samples] += more
    return (spread / count).to(inputs.dtype)
