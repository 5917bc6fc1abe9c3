"""Expected Gradients (Erion et al., arXiv 1906.10670)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot import checks, draws, gradients
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.gradients import Query, Score


@dataclass(frozen=True, repr=False)
class ExpectedGradients(Explainer):
    """Integrated Gradients averaged over baselines from a background set.

    E(x) = mean_j (x - b_j) * grad F(b_j + a_j (x - b_j)), a_j ~ U(0, 1), b_j drawn from
    `baselines` without replacement as long as there are enough (Erion et al., arXiv 1906.10670).
    The draws depend on `seed` and their number alone and are shared by all samples. Its sum is
    F(x) minus the mean of F over the background only in expectation.

    Args:
        baselines: background inputs (B, ...).
        samples: number of draws.
        score: what is differentiated, see `Gradient`.
        seed: of the draws.
    """

    baselines: Tensor
    samples: int = 50
    score: Score = "logit"
    seed: int = 0

    def attribute(self, request: Query) -> Tensor:
        inputs = request.inputs
        background, alphas = self._draw(inputs)
        starts = background.view(1, self.samples, *inputs.shape[1:])
        alphas = alphas.view(1, -1, *[1] * (inputs.ndim - 1))

        def compute(block: Block) -> Tensor:
            here = starts[:, block.variants]
            way = inputs[block.samples, None] - here
            points = here + alphas[:, block.variants] * way
            rows = request.take(block.samples).expand(points)
            slopes = gradients.input_gradient(rows, self.score).view_as(points)
            return (way * slopes).sum(1)

        rows = rows_per_batch(inputs, self.chunk)
        parts = each_block(len(inputs), self.samples, rows, compute)
        return gradients.sum_blocks(parts, inputs) / self.samples

    def _draw(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.samples < 1:
            raise SurefootError(f"samples={self.samples}, expected at least 1")
        checks.check_inputs(self.baselines, "baselines")
        if self.baselines.shape[1:] != inputs.shape[1:]:
            raise SurefootError(
                f"baselines have shape {tuple(self.baselines.shape)}, expected "
                f"(B, {', '.join(map(str, inputs.shape[1:]))}) to match the inputs"
            )
        count = len(self.baselines)
        rounds = range(-(-self.samples // count))
        order = [draws.permutation(self.seed, r, count) for r in rounds]
        picks = torch.cat(order)[: self.samples]
        alphas = draws.uniform(self.seed, slice(0, self.samples), torch.empty(1, 1, device="cpu"))
        return self.baselines.to(inputs)[picks.to(self.baselines.device)], alphas.to(inputs)
