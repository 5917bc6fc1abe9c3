"""Infidelity (Yeh et al., arXiv 1901.09392)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import check_pair, ratio, result_type, wide
from surefoot.metric._correlation import injected
from surefoot.metric._evaluate import over_grid, scores


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
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Squared error of the map as a linear predictor of the score's drop; lower is better.

    E_I [(I . a - (F(x) - F(x - I)))^2], I ~ N(0, std^2) (Yeh et al., arXiv 1901.09392, Def. 2.1
    and 2.3). Their code first multiplies the map by the scalar that fits best, E[d I.a] /
    E[(I.a)^2], d the drop: `rescale=True`. The perturbation is not cumulative and each draw starts
    from the image.

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        attributions: signed, shaped like the images.
        target: class index, one for each sample, or None for the class predicted for the images.
        samples: number of draws, shared by all samples.
        std: of the Gaussian, in input units; their images use 0.2.
        rescale: whether the map's scale is fitted first.
        score: F, see `explain.Gradient`.
        seed: of the draws.
        noise: the perturbations I themselves, (M, ...), instead of drawn ones.
        extra: further keyword inputs of the model, each with leading dimension N.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        (N,) in [0, inf), in squared units of the score; 0 for the gradient of a linear model.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, attributions of another
            shape, a target out of range, or noise of another shape.

    >>> model = nn.Linear(3, 2).eval()
    >>> infidelity(model, torch.ones(1, 3), model.weight.detach()[:1], 0).round(decimals=5)
    tensor([0.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    check_pair(attributions, images, ("attributions", "images"))
    given = injected(noise, images, "noise")
    if given is None and (samples < 1 or not std > 0):
        raise SurefootError(f"samples={samples}, std={std}: expected samples >= 1 and std > 0")

    def perturbation(variants: slice) -> Tensor:
        return std * draws.normal(seed, variants, images) if given is None else given[variants]

    def compute(block: Block) -> Tensor:
        moved = perturbation(block.variants)
        left = scores(request, block.samples, images[block.samples, None] - moved, score)
        predicted = wide(attributions[block.samples]) @ wide(moved).T
        return torch.stack([predicted, left.to(predicted)], 2)

    both = over_grid(request, samples if given is None else len(given), compute, chunk)
    original = over_grid(
        request, 1, lambda b: scores(request, b.samples, images[b.samples, None], score), chunk
    )
    predicted, drop = both[..., 0], original - both[..., 1]
    if rescale:
        fit = ratio((drop * predicted).mean(1), predicted.square().mean(1)).nan_to_num(0.0)
        predicted = fit[:, None] * predicted
    return (predicted - drop).square().mean(1).to(result_type(images))
