"""Scoring a model on variants of its inputs: the grid of (sample x variant) that metrics walk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query, Score
from surefoot.maps import check_map


@dataclass(frozen=True, eq=False)
class Grid:
    """A checked request, walked in batches over its samples and variants of them.

    Attributes:
        request: model, inputs, target and extra inputs.
        chunk: rows that go through the model at once; None chooses.
    """

    request: Query
    chunk: int | None

    @property
    def images(self) -> Tensor:
        """The inputs, (N, ...)."""
        return self.request.inputs

    def over(self, variants: int, compute: Callable[[Block], Tensor]) -> Tensor:
        """Gather `compute(block)`, (n, v, ...), over all samples and variants into (N, V, ...)."""
        samples, rows = len(self.images), rows_per_batch(self.images, self.chunk)
        result: Tensor | None = None
        for block, value in each_block(samples, variants, rows, compute):
            if result is None:
                result = value.new_empty(samples, variants, *value.shape[2:])
            result[block.samples, block.variants] = value
        if result is None:
            raise SurefootError("there are no variants to score; give at least one draw or step")
        return result

    def logits(self, samples: slice, points: Tensor) -> Tensor:
        """The logits at variants (n, v, ...) of some samples, (n, v, K), without a graph."""
        rows = self.request.take(samples).expand(points)
        found = gradients.predict(rows.model, rows.inputs, rows.extra, len(rows.inputs))
        return found.view(*points.shape[:2], -1)

    def score(self, samples: slice, points: Tensor, score: Score) -> Tensor:
        """The named score of the target at variants (n, v, ...) of some samples, (n, v)."""
        target = self.request.target[samples].repeat_interleave(points.shape[1])
        values = self.logits(samples, points).flatten(0, 1)
        return gradients.class_scores(values, target, score).view(points.shape[:2])

    def scores(self, variants: int, points: Callable[[Block], Tensor], score: Score) -> Tensor:
        """The named score of the target at all variants `points(block)`, (N, V)."""
        return self.over(variants, lambda b: self.score(b.samples, points(b), score))

    def unchanged(self, score: Score) -> Tensor:
        """The named score of the target at the inputs themselves, (N, 1)."""
        return self.scores(1, lambda block: self.images[block.samples, None], score)


def grid(
    model: nn.Module,
    images: Tensor,
    target: checks.Target,
    extra: Mapping[str, Tensor] | None,
    chunk: int | None,
) -> Grid:
    """What a metric is asked about a model, checked; no gradient flows from it."""
    return Grid(gradients.query(model, images, target, extra, create_graph=False), chunk)


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
