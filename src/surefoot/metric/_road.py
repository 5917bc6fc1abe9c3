"""ROAD: remove and debias, with noisy linear imputation (Rong et al., arXiv 2202.00449)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot import checks, draws, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import Layout, check_grid
from surefoot.metric._evaluate import grid
from surefoot.metric._kinds import DOWN, MODEL_MAP, ONE
from surefoot.metric._noise import given_or_drawn
from surefoot.metric._registry import measure
from surefoot.metric._removal import ranks, share_counts


@measure(MODEL_MAP, ONE, DOWN)
def road(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    std: float = 0.01,
    score: Score | Literal["accuracy"] = "accuracy",
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """What is left of the prediction when the most salient pixels are imputed; lower is better.

    mean over shares p of 1[argmax F(x^p) = target], x^p the image whose top share p is replaced by
    noisy linear imputation: each removed pixel is the weighted mean of its eight neighbours
    (1/6 beside and above, 1/12 across), removed ones included, solved jointly, plus Gaussian noise
    (ROAD in most-relevant-first order, Rong et al., arXiv 2202.00449; its mean over a data set is
    the mean of their accuracy curve). Ties as in `topk_intersection`. Blurry maps score better
    whatever they mark.

    Args:
        model: module from images to logits (N, K), in evaluation mode.
        images: floating point (N, C, H, W).
        h: maps (N, H, W); give `-h` for least relevant first.
        shares: of the pixels removed, each in (0, 1); one curve point each.
        std: of the noise, in input units.
        score: "accuracy", or a score of the target (see `explain.Gradient`) to average instead.
        seed: of the noise.
        noise: standard normal draws (S, C, H, W), one for each share, instead of drawn ones.

    Returns:
        (N,) in [0, 1] for accuracy.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite images, a map that does
            not fit, a target out of range, a share outside (0, 1), or noise of another shape.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> _ = model[1].weight.data.zero_()
    >>> road(model, torch.full((1, 1, 4, 4), 0.5), torch.arange(16.0).view(1, 4, 4), std=0.0)
    tensor([1.])
    """
    asked = grid(model, images, target, extra, chunk, layout)
    if images.ndim != 4:
        raise SurefootError(f"images have shape {tuple(images.shape)}, expected (N, C, H, W)")
    rank, counts = ranks(check_grid(h, "h"), asked.place_shape(h)), share_counts(h, shares)
    drawn = given_or_drawn(noise, images, len(shares), lambda s: draws.normal(seed, s, images))
    if drawn.count != len(shares):
        raise SurefootError(
            f"noise has {drawn.count} draws for {len(shares)} shares, expected one each"
        )

    def compute(block: Block) -> Tensor:
        removed = rank[block.samples, None] < counts[block.variants].view(-1, 1, 1, 1)
        some = images[block.samples, None].expand(-1, removed.shape[1], -1, -1, -1)
        filled = impute(some.flatten(0, 1), removed.flatten(0, 1)).view_as(some)
        points = filled + std * drawn.draw(block.variants) * removed
        found = asked.logits(block.samples, points)
        return _left(found, asked.request.target[block.samples], score).to(images)

    return asked.over(len(shares), compute).mean(1)


def _left(found: Tensor, target: Tensor, score: Score | Literal["accuracy"]) -> Tensor:
    """The score of each (sample, share) from its logits (n, v, K), (n, v)."""
    labels = target[:, None].expand(found.shape[:2])
    if score == "accuracy":
        checks.check_target_range(target, found[:, 0])
        return found.argmax(2) == labels
    return gradients.class_scores(found.flatten(0, 1), labels.flatten(), score).view(labels.shape)


def impute(images: Tensor, removed: Tensor) -> Tensor:
    """Linear imputation: removed pixels become the weighted mean of their neighbours.

    The linear system is symmetric and positive definite (the weights are, and at least one pixel
    stays), so conjugate gradients solve it on the device, each image and channel by itself.

    Args:
        images: (N, C, H, W).
        removed: bool (N, 1, H, W), not all of an image.

    Returns:
        (N, C, H, W), unchanged where nothing was removed.
    """
    inner = removed.to(images)
    degree = _neighbours(torch.ones_like(inner))
    known = images * (1 - inner)
    kept = (1 - inner).sum((2, 3), keepdim=True)
    start = inner * (known.sum((2, 3), keepdim=True) / kept)

    def laplace(u: Tensor) -> Tensor:
        return inner * (degree * u - _neighbours(u))

    return known + _solve(laplace, inner * _neighbours(known), start)


def _neighbours(images: Tensor) -> Tensor:
    """The weighted sum over the eight neighbours, 0 beyond the border; weights 1/6 and 1/12."""
    padded = functional.pad(images, [1] * 4)
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    both = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return (both - 4 * images) / 12


def _solve(apply: Callable[[Tensor], Tensor], right: Tensor, start: Tensor) -> Tensor:
    """Conjugate gradients for `apply(u) = right`, each plane of (N, C, H, W) by itself.

    A plane that has converged stands still, so that no result depends on the rest of the batch.
    """
    u, residual = start, right - apply(start)
    direction, size = residual, _dot(residual, residual)
    enough = _dot(right, right) * (100 * torch.finfo(right.dtype).eps) ** 2
    for _ in range(right[0, 0].numel()):
        active = size > enough
        if not active.any():
            break
        image = apply(direction)
        step = torch.where(active, size / _dot(direction, image), 0.0)
        u, residual = u + step * direction, residual - step * image
        before, size = size, torch.where(active, _dot(residual, residual), size)
        direction = residual + torch.where(active, size / before, 0.0) * direction
    return u


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)
