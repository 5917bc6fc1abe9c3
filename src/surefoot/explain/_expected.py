"""Expected Gradients (Erion et al., arXiv 1906.10670)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from surefoot import checks, draws, gradients
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.gradients import Query, Score
from surefoot.maps import Parts


@dataclass(frozen=True, repr=False)
class ExpectedGradients(Explainer):
    """Integrated Gradients averaged over baselines from a background set.

    E(x) = mean_j (x - b_j) * grad F(b_j + a_j (x - b_j)), a_j ~ U(0, 1), b_j drawn from
    `baselines` without replacement as long as there are enough (Erion et al., arXiv 1906.10670).
    The draws depend on `seed` and their number alone and are shared by all samples. Its sum is
    F(x) minus the mean of F over the background only in expectation.

    Args:
        baselines: background inputs (B, ...); for several inputs a tuple of them.
        samples: number of draws.
        score: what is differentiated, see `Gradient`.
        seed: of the draws.
        multiply_by_inputs: whether x - b_j is a factor.
        std: standard deviation of the noise added to x in each draw, as GradientShap has it.

    >>> net = torch.nn.Linear(4, 3).eval()
    >>> ExpectedGradients(torch.rand(5, 4), samples=8)(net, torch.rand(2, 4), 0).shape
    torch.Size([2, 4])
    """

    baselines: Tensor | tuple[Tensor, ...]
    samples: int = 50
    score: Score = "logit"
    seed: int = 0
    multiply_by_inputs: bool = field(default=True, kw_only=True)
    std: float = field(default=0.0, kw_only=True)

    def attribute(self, request: Query) -> Tensor:
        inputs, drawn = request.inputs, self._way(request)

        def compute(block: Block) -> Tensor:
            _, way, slopes = drawn(block)
            return (way * slopes if self.multiply_by_inputs else slopes).sum(1)

        rows = rows_per_batch(inputs, self.chunk)
        parts = each_block(len(inputs), self.samples, rows, compute)
        return gradients.sum_blocks(parts, inputs) / self.samples

    def gaps(self, request: Query) -> Tensor:
        """What each draw's sum misses of its change of the score, (N, samples); 0 is best.

        sum_i (x - b_j)_i grad_i F(b_j + a_j (x - b_j)) - (F(x) - F(b_j)), x with its noise.
        """
        inputs, drawn = request.inputs, self._way(request)
        found = inputs.new_empty(len(inputs), self.samples)

        def compute(block: Block) -> Tensor:
            here, way, slopes = drawn(block)
            rows = request.take(block.samples)
            ends = []
            for points in (here + way, here.expand_as(way)):
                some = rows.expand(points)
                logits = gradients.predict(some.model, some.inputs, some.extra, self.chunk)
                scores = gradients.class_scores(logits, some.target, self.score)
                ends.append(scores.view(way.shape[:2]))
            return (way * slopes).flatten(2).sum(2) - (ends[0] - ends[1])

        with torch.no_grad():
            rows = rows_per_batch(inputs, self.chunk)
            for (samples, variants), gap in each_block(len(inputs), self.samples, rows, compute):
                found[samples, variants] = gap
        return found

    def _way(self, request: Query) -> Callable[[Block], tuple[Tensor, Tensor, Tensor]]:
        """Of a block the baselines drawn, the way from them to the inputs, and the slope on it."""
        inputs = request.inputs
        background, alphas = self._draw(request)
        starts = background.view(1, self.samples, *inputs.shape[1:])
        alphas = alphas.view(1, -1, *[1] * (inputs.ndim - 1))

        def drawn(block: Block) -> tuple[Tensor, Tensor, Tensor]:
            here = starts[:, block.variants]
            way = inputs[block.samples, None] - here
            if self.std:
                way = way + self.std * draws.normal(self.seed + 1, block.variants, inputs)
            points = here + alphas[:, block.variants] * way
            rows = request.take(block.samples).expand(points)
            return here, way, gradients.input_gradient(rows, self.score).view_as(points)

        return drawn

    def _draw(self, request: Query) -> tuple[Tensor, Tensor]:
        if self.samples < 1 or not self.std >= 0:
            raise SurefootError(
                f"samples={self.samples}, std={self.std}: expected samples >= 1 and std >= 0"
            )
        inputs, baselines = request.inputs, self.baselines
        if isinstance(baselines, tuple) and isinstance(request.layout, Parts):
            baselines = request.layout.join(baselines)
        if isinstance(baselines, tuple):
            raise SurefootError(f"{len(baselines)} baselines came for one input, expected (B, ...)")
        checks.check_inputs(baselines, "baselines")
        if baselines.shape[1:] != inputs.shape[1:]:
            raise SurefootError(
                f"baselines have shape {tuple(baselines.shape)}, expected "
                f"(B, {', '.join(map(str, inputs.shape[1:]))}) to match the inputs"
            )
        count = len(baselines)
        rounds = range(-(-self.samples // count))
        order = [draws.permutation(self.seed, r, count) for r in rounds]
        picks = torch.cat(order)[: self.samples]
        alphas = draws.uniform(self.seed, slice(0, self.samples), torch.empty(1, 1, device="cpu"))
        return baselines.to(inputs)[picks.to(baselines.device)], alphas.to(inputs)
