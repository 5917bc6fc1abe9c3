"""Which patches go into one decoy, and which of them must be solved together.

Patches are dealt out to masks by turns along each axis, so that those of one mask lie as far apart
as their number allows. Where effects at the layer still meet, patches that meet form one block.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from surefoot import maps
from surefoot.decoy._layer import Trunk, repeated
from surefoot.decoy._reach import Axis, axis
from surefoot.decoy._settings import Settings
from surefoot.errors import SurefootError

_ABSENT = -1
_CPU = "cpu"  # said, because torch's default device is the user's


@dataclass(frozen=True)
class Mask:
    """One decoy's swappable places, as blocks that are solved apart from each other.

    Attributes:
        features: (G, n), for each block the flat indices of its input features; rows are padded
            with the number of features.
        outputs: (G, L), for each block the flat indices of the layer's outputs that it reaches;
            rows are padded with the number of outputs.
        patches: (P, axes), the corners of the patches inside; those at the edge may be cut short.
        numbers: (G,), which patch of the whole grid a block is, where each is one.
    """

    features: Tensor
    outputs: Tensor
    patches: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class Plan:
    """All masks of a map.

    Attributes:
        masks: the masks, K of them.
        probes: masks with as many patches as do not meet, of the same grid, to learn linear models
            of all patches from; empty where patches of a mask meet.
        places: shape of a mask: (H, W), (T,), ...
        patch: side of a patch.
        layout: of the inputs.
        seen: (*places,) bool: where the layer sees the input at all; only there decoys move.
    """

    masks: tuple[Mask, ...]
    probes: tuple[Mask, ...]
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
    grid = _Grid(tuple(inputs.shape[1:]), layout, trunk(inputs, extra).shape[1:], starts, patch)
    counts = _counts(axes, starts, patch, settings.decoys // 2)
    masks = grid.masks(axes, counts)
    least = [
        next((k for k in range(1, count + 1) if not _meet(a, start, patch, k)), None)
        for a, start, count in zip(axes, starts, counts, strict=True)
    ]
    apart = all(len(mask.features) == len(mask.patches) for mask in masks)
    probes = grid.masks(axes, [k for k in least if k]) if apart and None not in least else ()
    return Plan(
        masks, probes, places, patch, layout, torch.ones(places, dtype=torch.bool, device=_CPU)
    )


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
                and _meet(axes[i], starts[i], patch, counts[i])
            ):
                counts = more
                break
        else:
            return counts


def _meet(axis_: Axis, starts: list[int], patch: int, count: int) -> bool:
    """Whether patches meet along an axis if dealt out to so many classes."""
    dealt = _deal(axis_, starts, patch, count)
    return any(int(_groups(axis_, each, patch)[-1]) + 1 < len(each) for each in dealt)


def _deal(axis_: Axis, starts: list[int], patch: int, count: int) -> list[Tensor]:
    """Patches along an axis dealt out to classes: by turns, and where they must meet, few together.

    Each goes to the class whose last patch it does not meet, else to the one where least already
    hangs together; of equals to the one that has waited longest.
    """
    order = axis_.low.flatten().argsort()
    low, high = axis_.low.flatten()[order], axis_.high.flatten()[order].cummax(0).values
    ends = torch.tensor(starts, device=_CPU) + patch - 1
    far = torch.nn.functional.pad(high, (1, 0), value=-1)[torch.searchsorted(low, ends, right=True)]
    reach = far.tolist()
    classes: list[list[int]] = [[] for _ in range(min(count, len(starts)))]
    hanging = [0] * len(classes)
    for i, start in enumerate(starts):
        meets = [bool(c) and reach[c[-1]] >= start for c in classes]
        k = min(
            range(len(classes)),
            key=lambda k: (meets[k] * hanging[k], classes[k][-1] if classes[k] else -1),
        )
        hanging[k] = 1 + meets[k] * hanging[k]
        classes[k].append(i)
    return [torch.tensor([starts[i] for i in c], device=_CPU) for c in classes]


def _groups(axis_: Axis, starts: Tensor, patch: int) -> Tensor:
    """(P,), the block each patch of one class belongs to along an axis, counted from 0."""
    first, last = _members(axis_, starts, patch)
    reached = first <= last
    shape = len(starts) + 1
    joined = torch.bincount(first[reached], minlength=shape)
    joined -= torch.bincount(last[reached], minlength=shape)
    apart = joined.cumsum(0)[: len(starts)] == 0
    return torch.nn.functional.pad(apart.long().cumsum(0)[:-1], (1, 0))


def _members(axis_: Axis, starts: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """For each output, first and last patch of a class that reaches it."""
    first = torch.searchsorted(starts + patch - 1, axis_.low.contiguous())
    last = torch.searchsorted(starts, axis_.high.contiguous(), right=True) - 1
    return first, last


@dataclass(frozen=True)
class _Class:
    """Some patches along one axis, as blocks.

    Attributes:
        starts: (P,).
        positions: (G, p), each block's positions, padded with -1.
        block: each output's block, shaped as the axis's `low`; -1 for none.
        outputs: (G, L), each block's outputs along the axis's dimension, padded with -1.
        groups: (P,), each patch's block.
    """

    starts: Tensor
    positions: Tensor
    block: Tensor
    outputs: Tensor
    groups: Tensor


def _class(axis_: Axis, starts: Tensor, patch: int, size: int) -> _Class:
    groups = _groups(axis_, starts, patch)
    first, last = _members(axis_, starts, patch)
    block = torch.where(first <= last, groups[first.clamp_max(len(starts) - 1)], _ABSENT)
    spans = starts[:, None] + torch.arange(patch, device=_CPU)
    blocks = range(int(groups[-1]) + 1)
    positions = [torch.unique(spans[groups == g]) for g in blocks]
    positions = [each[each < size] for each in positions]
    owned = (
        [(block.flatten() == g).nonzero()[:, 0] for g in blocks] if axis_.dim is not None else []
    )
    return _Class(starts, _padded(positions), block, _padded(owned), groups)


def _alike(classes: list[_Class]) -> list[_Class]:
    """Classes of one axis with rows of one length, so that their masks can be compared."""
    wide = max(c.positions.shape[1] for c in classes), max(c.outputs.shape[1] for c in classes)

    def longer(rows: Tensor, length: int) -> Tensor:
        return torch.nn.functional.pad(rows, (0, length - rows.shape[1]), value=_ABSENT)

    return [
        replace(c, positions=longer(c.positions, wide[0]), outputs=longer(c.outputs, wide[1]))
        for c in classes
    ]


def _padded(rows: list[Tensor]) -> Tensor:
    if not rows:
        return torch.empty(0, 0, dtype=torch.long, device=_CPU)
    return pad_sequence(rows, batch_first=True, padding_value=_ABSENT)


@dataclass(frozen=True)
class _Grid:
    """The patches of an input, and what the layer's outputs look like."""

    sample: tuple[int, ...]
    layout: maps.Layout
    outputs: tuple[int, ...]
    starts: list[list[int]]
    patch: int

    def masks(self, axes: list[Axis], counts: list[int]) -> tuple[Mask, ...]:
        """The masks if the patches along each axis are dealt out to so many classes."""
        dims = maps.place_axes(self.layout)
        classes: list[list[_Class]] = []
        for axis_, starts, count, dim in zip(axes, self.starts, counts, dims, strict=True):
            dealt = _deal(axis_, starts, self.patch, count)
            classes.append([_class(axis_, d, self.patch, self.sample[dim - 1]) for d in dealt])
        alike = [_alike(along) for along in classes]
        return tuple(self._mask(axes, combined) for combined in itertools.product(*alike))

    def _mask(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Mask:
        corners = torch.cartesian_prod(*[c.starts for c in classes]).view(-1, len(classes))
        irregular = any(a.dim is None and a.low.numel() > 1 for a in axes)
        outputs = self._listed(axes, classes) if irregular else self._crossed(axes, classes)
        steps = [len(starts) for starts in self.starts]
        number = torch.zeros(1, dtype=torch.long, device=_CPU)
        for c, starts, step in zip(classes, self.starts, steps, strict=True):
            at = torch.searchsorted(torch.tensor(starts, device=_CPU), c.starts)
            number = (number[:, None] * step + at).flatten()
        return Mask(self._features(classes), outputs, corners, number)

    def _features(self, classes: tuple[_Class, ...]) -> Tensor:
        """(G, n) flat indices of each block's features, all channels of its places."""
        index = torch.arange(math.prod(self.sample), device=_CPU).view(self.sample)
        channel = maps.channel_axis(self.layout)
        index = index[..., None] if channel is None else index.movedim(channel - 1, -1)
        flat, absent = _cross([c.positions for c in classes], list(index.shape[:-1]))
        rows = index.flatten(0, -2)[flat]
        rows[absent] = index.numel()
        return rows.flatten(1)

    def _crossed(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Tensor:
        """(G, L): where outputs lie along the axes, products of what each axis owns."""
        index = torch.arange(math.prod(self.outputs), device=_CPU).view(self.outputs)
        kept = [i for i, a in enumerate(axes) if a.dim is not None]
        dims = [d for d in (axes[i].dim for i in kept) if d is not None]
        index = index.movedim(dims, list(range(len(dims))))
        index = index.reshape(*index.shape[: len(dims)], -1)
        whole = torch.zeros(1, 1, dtype=torch.long, device=_CPU)
        lists = [c.outputs if i in kept else whole for i, c in enumerate(classes)]
        sizes = [index.shape[kept.index(i)] if i in kept else 1 for i in range(len(axes))]
        flat, absent = _cross(lists, sizes)
        rows = index.view(-1, index.shape[-1])[flat]
        rows[absent] = index.numel()
        return rows.flatten(1)

    def _listed(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Tensor:
        """(G, L): where they do not, each block's outputs picked out one by one."""
        block = torch.zeros(1, dtype=torch.long, device=_CPU)
        absent = torch.zeros(1, dtype=torch.bool, device=_CPU)
        for a, c in zip(axes, classes, strict=True):
            along = _shaped(c.block, a.dim, len(self.outputs))
            absent = absent | (along == _ABSENT)
            block = block * len(c.positions) + along
        blocks = math.prod(len(c.positions) for c in classes)
        total = math.prod(self.outputs)
        flat = torch.where(absent, blocks, block).expand(self.outputs).flatten()
        order = flat.argsort(stable=True)
        sizes = torch.bincount(flat, minlength=blocks + 1)[:-1].tolist()
        rows = torch.split(order[: sum(sizes)], sizes)
        return pad_sequence(list(rows), batch_first=True, padding_value=total)


def _shaped(block: Tensor, dim: int | None, ndim: int) -> Tensor:
    """Each output's block so that it broadcasts to the outputs."""
    if dim is None and block.numel() > 1:
        return block
    return block.view([-1 if i == (dim or 0) else 1 for i in range(ndim)])


def _cross(lists: list[Tensor], sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Flat indices (G, L) of all products of one list an axis, each (g, l), and which are absent.

    Sizes are those of the axes that the lists index; blocks and entries go through in order.
    """
    flat = torch.zeros(1, 1, dtype=torch.long, device=_CPU)
    absent = torch.zeros(1, 1, dtype=torch.bool, device=_CPU)
    for entries, size in zip(lists, sizes, strict=True):
        here = entries[None, :, None, :]
        flat = (flat[:, None, :, None] * size + here.clamp_min(0)).flatten(2).flatten(0, 1)
        absent = (absent[:, None, :, None] | (here == _ABSENT)).flatten(2).flatten(0, 1)
    return flat, absent
