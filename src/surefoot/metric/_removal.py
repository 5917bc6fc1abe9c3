"""Places of the inputs that go, or stay, in the order of a map, and the score that is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import check_grid, check_map, ordinal, rows
from surefoot.metric._evaluate import Grid

Order = Literal["morf", "lerf"]


@dataclass(frozen=True, eq=False)
class Removal:
    """What goes and what is asked of the rest.

    Attributes:
        grid: the request.
        h: maps that order the places, one number a place.
        counts: how many places (or regions) have gone at each point, (V,).
        baseline: what replaces them, shaped like the inputs.
        score: what is followed.
        region: side of the square patches that go together.
    """

    grid: Grid
    h: Tensor
    counts: Tensor
    baseline: Tensor
    score: Score
    region: int = 1

    def scores(self, order: Order = "morf", *, keep: bool = False) -> Tensor:
        """The score without the first places, or with the first places alone, (N, V)."""
        images = self.grid.images
        shape = self.grid.place_shape(self.h)
        rank = ranks(self.h, shape, order, self.region)

        def points(block: Block) -> Tensor:
            limit = self.counts[block.variants].view(-1, *[1] * (images.ndim - 1))
            stays = (rank[block.samples, None] < limit) == keep
            return torch.where(
                stays, images[block.samples, None], self.baseline[block.samples, None]
            )

        return self.grid.scores(len(self.counts), points, self.score)


def places(h: Tensor, region: int = 1) -> int:
    """How many places, or square regions of them, a map has."""
    if region == 1:
        return check_map(h, "h")[0].numel()
    height, width = check_grid(h, "h").shape[1:]
    if not 1 <= region <= min(height, width):
        raise SurefootError(f"region={region}, expected 1 to {min(height, width)} pixels")
    return -(-height // region) * -(-width // region)


def ranks(h: Tensor, shape: tuple[int, ...], order: Order = "morf", region: int = 1) -> Tensor:
    """How many places go before each, 0 for the first; a map's in `shape`."""
    if order not in ("morf", "lerf"):
        raise SurefootError(f'order={order!r}, expected "morf" or "lerf"')
    sign = 1 if order == "morf" else -1
    if region == 1:
        return ordinal(sign * rows(h)).view(len(h), *shape)
    height, width = h.shape[1:]
    padded = functional.pad(rows(h).view_as(h), [0, -width % region, 0, -height % region])
    down, across = padded.shape[1] // region, padded.shape[2] // region
    sums = padded.view(len(h), down, region, across, region).sum((2, 4))
    rank = ordinal(sign * sums.flatten(1)).view_as(sums)
    spread = rank.repeat_interleave(region, 1).repeat_interleave(region, 2)
    return spread[:, None, :height, :width]


def even_counts(h: Tensor, steps: int | None, share: float, region: int) -> Tensor:
    """How many places are changed at each of evenly spaced points, (S + 1,)."""
    if not 0 < share <= 1:
        raise SurefootError(f"share={share}, expected a share of the places in (0, 1]")
    last = max(1, round(share * places(h, region)))
    steps = min(32, last) if steps is None else steps
    if not 1 <= steps <= last:
        raise SurefootError(
            f"steps={steps}, expected 1 to {last}: the number of places (or regions) to change"
        )
    return torch.linspace(0, last, steps + 1, dtype=torch.float64).round().long().to(h.device)


def share_counts(h: Tensor, shares: Sequence[float]) -> Tensor:
    """How many places each share is, at least one and not all, (V,)."""
    if not shares or not all(0 < share < 1 for share in shares):
        raise SurefootError(f"shares={shares}, expected one or more numbers in (0, 1)")
    entries = places(h)
    if entries < 2:
        raise SurefootError("a map of one place has no share to remove, expected at least 2 places")
    counts = [min(max(1, round(share * entries)), entries - 1) for share in shares]
    return torch.tensor(counts, device=h.device)
