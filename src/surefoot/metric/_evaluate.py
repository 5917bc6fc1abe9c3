"""Scoring a model on variants of its inputs: the grid of (sample x variant) that metrics walk."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.gradients import Query, Score
from surefoot.maps import Layout, check_map, fitted, map_shape
from surefoot.metric._baselines import NEED_LAYOUT, Baseline, resolve


@dataclass(frozen=True, eq=False)
class Grid:
    """A checked request, walked in batches over its samples and variants of them.

    Attributes:
        request: model, inputs, target and extra inputs.
        chunk: rows that go through the model at once; None chooses.
    """

    request: Query
    chunk: int | None

    def place_shape(self, h: Tensor, name: str = "h") -> tuple[int, ...]:
        """The shape in which one map of `h` broadcasts to one image, see `place_shape`."""
        return place_shape(h, self.images, name, self.request.known_layout())

    def baseline(self, baseline: Baseline, h: Tensor) -> Tensor:
        """The baseline shaped like the images; maps `h` may tell a signal from tokens."""
        named = isinstance(baseline, str) and baseline in NEED_LAYOUT
        layout = fitted(h, self.images, layout=self.request.known_layout()) if named else None
        found = resolve(baseline, self.images, layout)
        same = int((found == self.images).flatten(1).all(1).sum())
        if same:
            warnings.warn(
                f"the baseline is what {same} of {len(found)} inputs hold everywhere, so that "
                "removing places changes nothing and their scores say nothing; give another "
                "baseline",
                SurefootWarning,
                stacklevel=4,
            )
        return found

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
        gradients.check_score(self.request.model, score)
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
    extra: Mapping[str, Any] | None,
    chunk: int | None,
    layout: Layout | None = None,
) -> Grid:
    """What a metric is asked about a model, checked; no gradient flows from it."""
    return Grid(gradients.query(model, images, target, extra, False, layout), chunk)


def place_shape(
    h: Tensor, images: Tensor, name: str = "h", layout: Layout | None = None
) -> tuple[int, ...]:
    """The shape in which one map of `h` broadcasts to one image.

    Maps are shaped like the images (N, ...), or hold one number a place: (N, H, W) for images
    (N, C, H, W), (N, L) for signals (N, C, L), (N, T) for tokens (N, T, D).

    >>> import torch
    >>> place_shape(torch.zeros(2, 4, 5), torch.zeros(2, 3, 4, 5))
    (1, 4, 5)
    """
    check_map(h, name)
    if h.device != images.device:
        raise SurefootError(f"{name} is on {h.device} and the images on {images.device}")
    return map_shape(h, images, layout, name)
