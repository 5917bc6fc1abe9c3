"""Integrated Gradients (Sundararajan, Taly, Yan, arXiv 1703.01365)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import gradients
from surefoot.chunking import Block
from surefoot.explain._base import Explainer
from surefoot.gradients import Inputs, Query, Score, Target
from surefoot.paths import Baseline, Quadrature, quadrature_rule


@dataclass(frozen=True, repr=False)
class IntegratedGradients(Explainer):
    """The gradient averaged along the straight path from a baseline, times the way gone.

    E(x) = (x - x0) * int_0^1 grad F(x0 + a (x - x0)) da (arXiv 1703.01365, Eq. 1). Its sum is
    F(x) - F(x0) up to the quadrature's error (completeness); `completeness_gap` measures that.

    Args:
        steps: points of the quadrature; "trapezoid" uses both ends and needs at least 2.
        baseline: x0 as a number, a tensor broadcastable to the inputs or with one row for each of
            the call's samples, or a callable that maps the inputs to one; of several inputs a
            tuple of these, one for each.
        score: what is differentiated, see `Gradient`.
        quadrature: "gausslegendre" (default), "midpoint", "trapezoid", "left" or "right"
            Riemann sum; the attributional-robustness literature uses "right".
        multiply_by_inputs: whether the way gone is a factor; False leaves the averaged gradient,
            which does not add up to a difference of scores.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> IntegratedGradients(steps=4)(model, torch.tensor([[1.0, 0.5]]), target=0)
    tensor([[1., 1.]])
    """

    steps: int = 32
    baseline: Baseline | tuple[Baseline, ...] = 0.0
    score: Score = "logit"
    quadrature: Quadrature = "gausslegendre"
    multiply_by_inputs: bool = field(default=True, kw_only=True)

    def attribute(self, request: Query) -> Tensor:
        alphas, weights = quadrature_rule(self.quadrature, self.steps)
        alphas = alphas.to(request.inputs).view(-1, *[1] * (request.inputs.ndim - 1))
        start = request.start(self.baseline)
        way = request.inputs - start

        def path(block: Block) -> Tensor:
            here, there = start[block.samples, None], way[block.samples, None]
            return here + alphas[block.variants] * there

        mean = gradients.mean_gradient(request, self.score, path, weights, self.chunk)
        return way * mean if self.multiply_by_inputs else mean

    def completeness_gap(
        self,
        model: nn.Module,
        inputs: Inputs,
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """sum_i E_i(x) - (F(x) - F(x0)), (N,): the quadrature's error, 0 is best.

        Arguments and errors are those of calling the explainer.
        """
        request = gradients.query(model, inputs, target, extra, False, several=True)
        with torch.no_grad():
            total = self.attribute(request).flatten(1).sum(1)
            start = request.start(self.baseline)
            ends = [
                gradients.class_scores(
                    gradients.predict(request.model, x, request.extra, self.chunk),
                    request.target,
                    self.score,
                )
                for x in (request.inputs, start)
            ]
        return total - (ends[0] - ends[1])
