"""Integrated Gradients (Sundararajan, Taly, Yan, arXiv 1703.01365)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.gradients import Query, Score

Quadrature = Literal["gausslegendre", "midpoint", "trapezoid", "left", "right"]
Baseline = float | Tensor | Callable[[Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class IntegratedGradients(Explainer):
    """The gradient averaged along the straight path from a baseline, times the way gone.

    E(x) = (x - x0) * int_0^1 grad F(x0 + a (x - x0)) da (arXiv 1703.01365, Eq. 1). Its sum is
    F(x) - F(x0) up to the quadrature's error (completeness); `completeness_gap` measures that.

    Args:
        steps: points of the quadrature; "trapezoid" uses both ends and needs at least 2.
        baseline: x0 as a number, a tensor broadcastable to the inputs, or a callable that maps
            the inputs to one.
        score: what is differentiated, see `Gradient`.
        quadrature: "gausslegendre" (default), "midpoint", "trapezoid", "left" or "right"
            Riemann sum; the attributional-robustness literature uses "right".

    >>> import torch
    >>> model = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> IntegratedGradients(steps=4)(model, torch.tensor([[1.0, 0.5]]), target=0)
    tensor([[1., 1.]])
    """

    steps: int = 32
    baseline: Baseline = 0.0
    score: Score = "logit"
    quadrature: Quadrature = "gausslegendre"

    def attribute(self, request: Query) -> Tensor:
        alphas, weights = quadrature_rule(self.quadrature, self.steps)
        alphas = alphas.to(request.inputs).view(-1, *[1] * (request.inputs.ndim - 1))
        start = resolve_baseline(self.baseline, request.inputs)
        way = request.inputs - start

        def path(block: Block) -> Tensor:
            here, there = start[block.samples, None], way[block.samples, None]
            return here + alphas[block.variants] * there

        return way * gradients.mean_gradient(request, self.score, path, weights, self.chunk)

    def completeness_gap(
        self,
        model: nn.Module,
        inputs: Tensor,
        target: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """sum_i E_i(x) - (F(x) - F(x0)), (N,): the quadrature's error, 0 is best.

        Arguments and errors are those of calling the explainer.
        """
        request = gradients.query(model, inputs, target, extra, create_graph=False)
        with torch.no_grad():
            total = self.attribute(request).flatten(1).sum(1)
            start = resolve_baseline(self.baseline, inputs)
            ends = [
                gradients.class_scores(
                    gradients.predict(model, x, extra, self.chunk), request.target, self.score
                )
                for x in (inputs, start)
            ]
        return total - (ends[0] - ends[1])


def resolve_baseline(baseline: Baseline, inputs: Tensor) -> Tensor:
    """The baseline as a tensor shaped like `inputs`.

    Raises:
        SurefootError: it does not broadcast to the inputs, or is not finite.
    """
    value = baseline(inputs.detach()) if callable(baseline) else baseline
    value = torch.as_tensor(value).to(inputs)
    if not torch.isfinite(value).all():
        raise SurefootError("the baseline holds NaN or infinite values, expected finite numbers")
    try:
        return value.expand_as(inputs)
    except RuntimeError:
        raise SurefootError(
            f"the baseline has shape {tuple(value.shape)}, which does not broadcast to the inputs "
            f"{tuple(inputs.shape)}"
        ) from None


def quadrature_rule(name: Quadrature, steps: int) -> tuple[Tensor, Tensor]:
    """Points in [0, 1] and weights that sum to 1, both (steps,), float64.

    >>> quadrature_rule("right", 2)
    (tensor([0.5000, 1.0000], dtype=torch.float64), tensor([0.5000, 0.5000], dtype=torch.float64))
    """
    least = 2 if name == "trapezoid" else 1
    if steps < least:
        raise SurefootError(f"steps={steps}, expected at least {least} for {name!r}")
    index = torch.arange(steps, dtype=torch.float64)
    even = torch.full_like(index, 1 / steps)
    if name == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)
    if name == "midpoint":
        return (index + 0.5) / steps, even
    if name == "left":
        return index / steps, even
    if name == "right":
        return (index + 1) / steps, even
    if name == "trapezoid":
        halved = torch.full_like(index, 1 / (steps - 1))
        halved[[0, -1]] /= 2
        return index / (steps - 1), halved
    raise SurefootError(f"quadrature={name!r} is unknown; choose one of {get_args(Quadrature)}")
