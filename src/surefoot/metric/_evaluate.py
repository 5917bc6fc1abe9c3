"""Scoring a model on variants of its inputs: the grid of (sample x variant) that metrics walk."""

from collections.abc import Callable

from torch import Tensor

from surefoot import gradients
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query, Score
from surefoot.maps import check_map


def over_grid(
    request: Query, variants: int, compute: Callable[[Block], Tensor], chunk: int | None
) -> Tensor:
    """Gather `compute(block)`, (n, v, ...), over all samples and variants into (N, V, ...)."""
    parts = each_block(
        len(request.inputs), variants, rows_per_batch(request.inputs, chunk), compute
    )
    result: Tensor | None = None
    for block, value in parts:
        if result is None:
            result = value.new_empty(len(request.inputs), variants, *value.shape[2:])
        result[block.samples, block.variants] = value
    if result is None:
        raise SurefootError("there are no variants to score; give at least one draw or step")
    return result


def logits(request: Query, samples: slice, points: Tensor) -> Tensor:
    """The model's logits at variants (n, v, ...) of some samples, (n, v, K), without a graph."""
    rows = request.take(samples).expand(points)
    found = gradients.predict(rows.model, rows.inputs, rows.extra, len(rows.inputs))
    return found.view(*points.shape[:2], -1)


def scores(request: Query, samples: slice, points: Tensor, score: Score) -> Tensor:
    """The named score of the target at variants (n, v, ...) of some samples, (n, v)."""
    target = request.target[samples].repeat_interleave(points.shape[1])
    values = logits(request, samples, points).flatten(0, 1)
    return gradients.class_scores(values, target, score).view(points.shape[:2])


def place_shape(h: Tensor, images: Tensor, name: str = "h") -> tuple[int, ...]:
    """The shape in which one map of `h` broadcasts to one image.

    Maps are shaped like the images (N, ...), or hold one number a place: (N, H, W) for images
    (N, C, H, W), (N, T) for tokens (N, T, D).

    >>> import torch
    >>> place_shape(torch.zeros(2, 4, 5), torch.zeros(2, 3, 4, 5))
    (1, 4, 5)
    """
    check_map(h, name)
    one, image = tuple(h.shape[1:]), tuple(images.shape[1:])
    if h.device != images.device:
        raise SurefootError(f"{name} is on {h.device} and the images on {images.device}")
    if len(h) == len(images) and one in (image, (1, *image[1:])):
        return one
    if len(h) == len(images) and len(image) >= 3 and one == image[1:]:
        return (1, *one)
    if len(h) == len(images) and len(image) == 2 and one == image[:1]:
        return (*one, 1)
    raise SurefootError(
        f"{name} has shape {tuple(h.shape)}, which does not fit images {tuple(images.shape)}; "
        "expected one number a place, as explain.reduce and explain.heatmap give, or one an entry"
    )
