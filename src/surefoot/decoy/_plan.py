"""All masks of a map, for a layer whose reach is measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from surefoot import maps
from surefoot.decoy._grid import Grid, Mask, meet
from surefoot.decoy._layer import Trunk, repeated
from surefoot.decoy._reach import Axis, axis
from surefoot.decoy._settings import Settings
from surefoot.decoy._stencil import Stencil, stencil
from surefoot.errors import SurefootError

_CPU = "cpu"  # said, because torch's default device is the user's
_WIDE = 3  # patches side by side that an output's own part of the input takes at least


@dataclass(frozen=True)
class Plan:
    """All masks of a map.

    Attributes:
        masks: the masks, K of them.
        stencil: how to learn the linear models of all masks at once; None where it takes fewer
            passes to learn those of each mask.
        places: shape of a mask: (H, W), (T,), ...
        patch: side of a patch.
        layout: of the inputs.
        seen: (*places,) bool: where the layer sees the input at all; only there decoys move.
    """

    masks: tuple[Mask, ...]
    stencil: Stencil | None
    places: tuple[int, ...]
    patch: int
    layout: maps.Layout
    seen: Tensor

    @property
    def joint(self) -> bool:
        """Whether patches of a mask are solved together, because their effects meet."""
        return any(len(mask.features) < len(mask.patches) for mask in self.masks)

    @cached_property
    def cover(self) -> Tensor:
        """(K, *places) bool: where each mask may differ."""
        grid = torch.zeros(len(self.masks), *self.places, dtype=torch.bool, device=_CPU)
        for row, mask in zip(grid, self.masks, strict=True):
            for corner in mask.patches.tolist():
                row[tuple(slice(c, c + self.patch) for c in corner)] = True
        return grid & self.seen

    @property
    def coverage(self) -> float:
        """Share of places that lie in some mask."""
        return float(self.cover.any(0).float().mean())

    def features_seen(self, inputs: Tensor) -> Tensor:
        """`seen` for each feature of one input, (...)."""
        return maps.spread(self.seen[None].to(inputs.device), self.layout)[0].expand(
            inputs.shape[1:]
        )

    @property
    def columns(self) -> int:
        """Features of the largest block."""
        return max(mask.features.shape[1] for mask in self.masks)

    @property
    def passes(self) -> int:
        """That all linear models at the input take."""
        return self.stencil.count if self.stencil else self.columns * len(self.masks)


def plan_masks(
    trunk: Trunk,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
    layout: maps.Layout,
) -> Plan:
    """At most `decoys` / 2 masks for inputs like `inputs` (1, ...), every patch in one of them.

    Raises:
        SurefootError: the patch does not fit.
    """
    places, patch = maps.places(layout, inputs), settings.patch
    if not 1 <= patch <= min(places):
        raise SurefootError(
            f"patch={patch} does not fit: expected 1 to {min(places)}, the smaller side of {places}"
        )

    def run(rows: Tensor) -> Tensor:
        return trunk(rows, repeated(extra, len(rows)))

    starts = [list(range(0, size, settings.stride or patch)) for size in places]
    axes = [
        axis(run, inputs, dim, start, patch)
        for dim, start in zip(maps.place_axes(layout), starts, strict=True)
    ]
    free = settings.stride is None
    laid = [_inside(a, s, patch) if free else s for a, s in zip(axes, starts, strict=True)]
    grid = Grid(tuple(inputs.shape[1:]), layout, trunk(inputs, extra).shape[1:], laid, patch)
    counts = _counts(axes, laid, patch, settings.decoys // 2)
    masks = grid.masks(axes, counts)
    if free and laid == starts:
        masks = grid.scattered(axes, counts, settings.seed) or masks
    seen = torch.ones(places, dtype=torch.bool, device=_CPU)
    plan = Plan(masks, None, places, patch, layout, seen)
    found = stencil(axes, grid.sample, grid.outputs, layout)
    return replace(plan, stencil=found) if found.count < plan.passes else plan


def _inside(axis_: Axis, starts: list[int], patch: int) -> list[int]:
    """Starts of patches that lie in one token each, where the layer cuts its input into such."""
    low, high = axis_.low, axis_.high
    if axis_.dim is None or (low[1:] <= high[:-1]).any() or (high - low + 1 < _WIDE * patch).any():
        return starts
    tokens = zip(low.tolist(), (high - patch + 1).tolist(), strict=True)
    return [start for first, last in tokens for start in [*range(first, last, patch), last]]


def _counts(axes: list[Axis], starts: list[list[int]], patch: int, masks: int) -> list[int]:
    """Classes along each axis: equally many, and one more where patches meet and masks are left."""
    root = round(masks ** (1 / len(axes)))
    root -= root ** len(axes) > masks
    counts = [min(len(start), root) for start in starts]
    while True:
        for i in sorted(range(len(axes)), key=lambda i: counts[i]):
            more = [*counts[:i], counts[i] + 1, *counts[i + 1 :]]
            if (
                math.prod(more) <= masks
                and more[i] <= len(starts[i])
                and meet(axes[i], starts[i], patch, counts[i])
            ):
                counts = more
                break
        else:
            return counts
