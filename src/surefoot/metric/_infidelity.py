"""Infidelity (Yeh et al., arXiv 1901.09392)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, draws
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import Layout, check_pair, ratio, result_type, wide
from surefoot.metric._evaluate import grid
from surefoot.metric._kinds import DOWN, MODEL_ATTRIBUTIONS, POSITIVE
from surefoot.metric._noise import given_or_drawn
from surefoot.metric._registry import measure


@measure(MODEL_ATTRIBUTIONS, POSITIVE, DOWN)
def infidelity(
    model: nn.Module,
    images: Tensor,
    attributions: Tensor,
    target: checks.Target = None,
    *,
    samples: int = 100,
    std: float = 0.2,
    rescale: bool = False,
    score: Score = "logit",
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Squared error of the map as a linear predictor of the score's drop; lower is better.

    E_I [(I . a - (F(x) - F(x - I)))^2], I ~ N(0, std^2) (Yeh et al., arXiv 1901.09392, Def. 2.1
    and 2.3). Their code first multiplies the map by the scalar that fits best, E[d I.a] /
    E[(I.a)^2], d the drop: `rescale=True`. The perturbation is not cumulative and each draw starts
    from the image.

    Args:
        attributions: signed, shaped like the images.
        samples: number of draws, shared by all samples.
        std: of the Gaussian, in input units; their images use 0.2.
        rescale: whether the map's scale is fitted first.
        noise: the perturbations I themselves, (M, ...), instead of drawn ones.

    Returns:
        (N,) in [0, inf), in squared units of the score; 0 for the gradient of a linear model.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, attributions of another
            shape, a target out of range, or noise of another shape.

    >>> model = nn.Linear(3, 2).eval()
    >>> infidelity(model, torch.ones(1, 3), model.weight.detach()[:1], 0).round(decimals=5)
    tensor([0.])
    """
    asked = grid(model, images, target, extra, chunk, layout)
    check_pair(attributions, images, ("attributions", "images"))
    if noise is None and not std > 0:
        raise SurefootError(f"std={std}, expected more than 0")
    moves = given_or_drawn(
        noise, images, samples, lambda some: std * draws.normal(seed, some, images)
    )

    def compute(block: Block) -> Tensor:
        moved = moves.draw(block.variants)
        left = asked.score(block.samples, images[block.samples, None] - moved, score)
        predicted = wide(attributions[block.samples]) @ wide(moved).T
        return torch.stack([predicted, left.to(predicted)], 2)

    predicted, left = asked.over(moves.count, compute).unbind(2)
    drop = asked.unchanged(score) - left
    if rescale:
        fit = ratio((drop * predicted).mean(1), predicted.square().mean(1)).nan_to_num(0.0)
        predicted = fit[:, None] * predicted
    return (predicted - drop).square().mean(1).to(result_type(images))
