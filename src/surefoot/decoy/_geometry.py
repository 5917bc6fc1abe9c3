"""Which patches go into one decoy: as many as keep their effects at the layer apart.

How far a patch reaches is measured, not derived: NaN put into a row of the input turns exactly the
outputs NaN that can depend on it, whatever the activations.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot import draws
from surefoot.decoy._layer import Trunk
from surefoot.decoy._settings import Settings
from surefoot.errors import SurefootError


@dataclass(frozen=True)
class Reach:
    """Along one axis, the first and last output position that each input position affects.

    Attributes:
        first: (S,), non-decreasing.
        last: (S,), inclusive, non-decreasing.
        spacing: positions between starts of two patches that keeps their outputs apart.
    """

    first: Tensor
    last: Tensor
    spacing: int


@dataclass(frozen=True)
class Mask:
    """One decoy's swappable places, as blocks that are solved apart from each other.

    Attributes:
        features: (G, n), for each block the flat indices of its input features.
        outputs: (G, L), for each block the flat indices of the layer's outputs that it owns; rows
            are padded with the number of outputs.
        patches: (P, axes), the corners of the patches inside; several share a block if joint.
    """

    features: Tensor
    outputs: Tensor
    patches: Tensor


@dataclass(frozen=True)
class Plan:
    """All masks of a map.

    Attributes:
        masks: the masks, K of them.
        joint: whether the patches of a mask are solved together, because their effects at the
            layer meet.
        places: shape of a mask: (H, W), (T,) or (F,).
        patch: side of a patch.
    """

    masks: tuple[Mask, ...]
    joint: bool
    places: tuple[int, ...]
    patch: int

    def as_bool(self) -> Tensor:
        """(K, *places) bool: where each mask may differ."""
        grid = torch.zeros(len(self.masks), *self.places, dtype=torch.bool)
        for row, mask in zip(grid, self.masks, strict=True):
            for corner in mask.patches.tolist():
                row[tuple(slice(c, c + self.patch) for c in corner)] = True
        return grid


def places_of(sample: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask for a sample (C, H, W), (T, D) or (F,)."""
    if len(sample) == 3:
        return sample[1:]
    if len(sample) in (1, 2):
        return sample[:1]
    raise SurefootError(
        f"one input has shape {sample}, expected an image (C, H, W), embedded tokens (T, D) or a "
        "record (F,)"
    )


def plan_masks(
    trunk: Trunk,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
) -> Plan:
    """At most `decoys` / 2 masks for inputs like `inputs` (1, ...).

    With `stride=None`, patches stand side by side if so many masks can hold them all, else as
    close as they can. With a stride that asks for more masks, a random part of them is kept.

    Raises:
        SurefootError: the patch does not fit.
    """
    patch, stride, count = settings.patch, settings.stride, settings.decoys // 2
    places = places_of(tuple(inputs.shape[1:]))
    _check(places, patch)
    reaches = _reaches(trunk, inputs, extra, patch) if len(places) == 2 else None
    if reaches is None:
        axes = [_spread(size, patch, stride, count, len(places)) for size in places]
    else:
        axes = [_pack(s, patch, stride, count, r) for s, r in zip(places, reaches, strict=True)]
    grids = _products(axes)
    keep = (
        torch.randperm(len(grids), generator=draws.generator(settings.seed, 0))[:count]
        .sort()
        .values
    )
    chosen = [grids[i] for i in keep.tolist()]
    outputs = trunk(inputs, extra).shape[1:]
    masks = tuple(_mask(grid, tuple(inputs.shape[1:]), outputs, patch, reaches) for grid in chosen)
    joint = any(len(mask.features) < len(mask.patches) for mask in masks)
    return Plan(masks, joint, places, patch)


def _check(places: tuple[int, ...], patch: int) -> None:
    if not 1 <= patch <= min(places):
        raise SurefootError(
            f"patch={patch} does not fit: expected 1 to {min(places)}, the smaller side of {places}"
        )


def _pack(size: int, patch: int, stride: int | None, count: int, reach: Reach) -> list[list[int]]:
    """Classes of patch positions along one axis; the patches of a class do not interact."""
    per_axis = math.isqrt(count)
    step = stride or max(patch, math.ceil(reach.spacing / per_axis))
    classes = math.ceil(reach.spacing / step)
    return _classes(size, patch, step, classes, reach.spacing)


def _spread(size: int, patch: int, stride: int | None, count: int, axes: int) -> list[list[int]]:
    """Classes of far-apart positions where all patches interact anyway."""
    return _classes(size, patch, stride or patch, count if axes == 1 else math.isqrt(count), patch)


def _classes(size: int, patch: int, step: int, classes: int, spacing: int) -> list[list[int]]:
    """Positions dealt out to classes in turn; one at the edge that fits nowhere gets its own."""
    positions = [*range(0, size - patch, step), size - patch]
    if len(positions) <= classes:
        return [[position] for position in positions]
    result = [positions[first:-1:classes] for first in range(classes)]
    home = next((m for m in result if positions[-1] - m[-1] >= spacing), None)
    if home is None:
        home = []
        result.append(home)
    home.append(positions[-1])
    return result


def _products(axes: list[list[list[int]]]) -> list[list[list[int]]]:
    if len(axes) == 1:
        return [[positions] for positions in axes[0]]
    return [[rows, columns] for rows in axes[0] for columns in axes[1]]


def _mask(
    grid: list[list[int]],
    sample: tuple[int, ...],
    outputs: torch.Size,
    patch: int,
    reaches: tuple[Reach, Reach] | None,
) -> Mask:
    corners = torch.cartesian_prod(*map(torch.tensor, grid)).view(-1, len(grid))
    features = _features(corners, sample, patch)
    total = math.prod(outputs)
    if reaches is None:
        return Mask(torch.unique(features)[None], torch.arange(total)[None], corners)
    rows, columns = (
        _owned(positions, patch, reach, size)
        for positions, reach, size in zip(grid, reaches, outputs[1:], strict=True)
    )
    channels = torch.arange(outputs[0]) * outputs[1] * outputs[2]
    flat = (
        channels.view(1, 1, -1, 1, 1)
        + rows[:, None, None, :, None] * outputs[2]
        + columns[None, :, None, None, :]
    )
    absent = (rows == outputs[1])[:, None, None, :, None] | (columns == outputs[2])[
        None, :, None, None, :
    ]
    owned = flat.masked_fill(absent, total).flatten(2).flatten(0, 1)
    return Mask(features, owned, corners)


def _features(corners: Tensor, sample: tuple[int, ...], patch: int) -> Tensor:
    """Flat indices of each patch's features, all channels or embedding dimensions, (P, n)."""
    index = torch.arange(math.prod(sample)).view(sample)
    windows = index.movedim(0, -1) if len(sample) == 3 else index
    for axis in range(corners.shape[1]):
        windows = windows.unfold(axis, patch, 1)
    return windows[tuple(corners.T)].flatten(1)


def _owned(positions: list[int], patch: int, reach: Reach, size: int) -> Tensor:
    """Outputs that each patch can affect, (patches, longest), padded with `size`."""
    spans = [
        torch.arange(int(reach.first[p]), int(reach.last[p + patch - 1]) + 1) for p in positions
    ]
    return torch.nn.utils.rnn.pad_sequence(spans, batch_first=True, padding_value=size)


def _reaches(
    trunk: Trunk, inputs: Tensor, extra: Mapping[str, Tensor], patch: int
) -> tuple[Reach, Reach] | None:
    """How far each axis reaches, or None where patches cannot be kept apart at the layer."""
    clean = trunk(inputs, extra)
    if clean.ndim != 4:
        return None
    found = [_reach(trunk, inputs, extra, patch, axis, tuple(clean.shape)) for axis in (2, 3)]
    rows, columns = found
    if rows is None or columns is None:
        return None
    together = rows.spacing >= inputs.shape[2] and columns.spacing >= inputs.shape[3]
    return None if together else (rows, columns)


def _reach(
    trunk: Trunk,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    patch: int,
    axis: int,
    outputs: tuple[int, ...],
) -> Reach | None:
    """Probe one stride's worth of positions in the middle, extend by the stride, check twice."""
    size, out = inputs.shape[axis], outputs[axis]
    stride = max(1, round(size / out))
    start = (size // 2) // stride * stride
    seen = [_probe(trunk, inputs, extra, axis, start + i) for i in range(stride)]
    if any(span is None or span == (0, out - 1) for span in seen):
        return None
    phase = torch.tensor(seen) - start // stride

    def extended(positions: Tensor) -> tuple[Tensor, Tensor]:
        cycle, rest = positions // stride, positions % stride
        return phase[rest, 0] + cycle, phase[rest, 1] + cycle

    first, last = extended(torch.arange(size))
    for check in (size // 4, 3 * size // 4):
        span = _probe(trunk, inputs, extra, axis, check)
        if span is not None and not (first[check] <= span[0] and span[1] <= last[check]):
            return None
    starts = torch.arange(stride)
    ends = extended(starts + patch - 1)[1]
    spacing = next(q for q in itertools.count(patch) if (extended(starts + q)[0] > ends).all())
    return Reach(first.clamp(0, out), last.clamp(-1, out - 1), spacing)


def _probe(
    trunk: Trunk, inputs: Tensor, extra: Mapping[str, Tensor], axis: int, position: int
) -> tuple[int, int] | None:
    """First and last output position along `axis` that a NaN at `position` reaches."""
    probe = inputs.clone()
    probe.select(axis, position).fill_(torch.nan)
    hit = trunk(probe, extra).isnan().movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
    return (int(hit[0]), int(hit[-1])) if len(hit) else None
