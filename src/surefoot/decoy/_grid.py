"""Which patches go into one decoy, and which of them must be solved together.

Patches are dealt out to masks by turns along each axis, so that those of one mask lie as far apart
as their number allows. Where effects at the layer still meet, patches that meet form one block.
"""

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from surefoot import maps
from surefoot.decoy._reach import Axis
from surefoot.decoy._scatter import scattered
from surefoot.decoy._stencil import shaped

_ABSENT = -1
_DRAFTS = 8  # of scattered patches, until those of a mask do not meet
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
    """

    features: Tensor
    outputs: Tensor
    patches: Tensor


def meet(axis_: Axis, starts: list[int], patch: int, count: int) -> bool:
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


def _owned(axis_: Axis, first: Tensor, last: Tensor) -> Tensor:
    """The outputs (P, L) that see any of the positions from first to last (P,), padded with -1."""
    low = torch.searchsorted(axis_.high, first)
    high = torch.searchsorted(axis_.low, last, right=True)
    span = low[:, None] + torch.arange(int((high - low).max()), device=_CPU)
    return torch.where(span < high[:, None], span, _ABSENT)


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
class Grid:
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

    def scattered(self, axes: list[Axis], counts: list[int], seed: int) -> tuple[Mask, ...]:
        """Masks whose patches' borders are on no grid; none where they would meet."""
        few = min(len(s) / count for s, count in zip(self.starts, counts, strict=True))
        if len(axes) < 2 or self.patch < 2 or few < 2 or any(a.dim is None for a in axes):
            return ()
        places = [self.sample[dim - 1] for dim in maps.place_axes(self.layout)]
        for draw in range(_DRAFTS):
            dealt = scattered(places, self.patch, counts, seed, draw)
            if masks := self._apart(axes, dealt):
                return masks
        return ()

    def _apart(self, axes: list[Axis], dealt: list[Tensor]) -> tuple[Mask, ...]:
        """The masks of these patches, one by one; none if any meet."""
        inputs, outputs = self._inputs(), self._along(axes)
        masks = []
        for corners in dealt:
            positions = [at[:, None] + torch.arange(self.patch, device=_CPU) for at in corners.T]
            owned = [_owned(a, p.amin(1), p.amax(1)) for a, p in zip(axes, positions, strict=True)]
            flat, absent = _paired(owned, list(outputs.shape[:-1]))
            if flat[~absent].bincount().max() > 1:
                return ()
            features = _looked_up(inputs, *_paired(positions, list(inputs.shape[:-1])))
            masks.append(Mask(features, _looked_up(outputs, flat, absent), corners))
        return tuple(masks)

    def _inputs(self) -> Tensor:
        """Flat indices of the input's features, (*places, channels)."""
        index = torch.arange(math.prod(self.sample), device=_CPU).view(self.sample)
        channel = maps.channel_axis(self.layout)
        return index[..., None] if channel is None else index.movedim(channel - 1, -1)

    def _along(self, axes: list[Axis]) -> Tensor:
        """Flat indices of the outputs, their place along each axis first, then all others."""
        index = torch.arange(math.prod(self.outputs), device=_CPU).view(self.outputs)
        dims = [a.dim for a in axes if a.dim is not None]
        sizes = [1 if a.dim is None else self.outputs[a.dim] for a in axes]
        return index.movedim(dims, list(range(len(dims)))).reshape(*sizes, -1)

    def _mask(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Mask:
        corners = torch.cartesian_prod(*[c.starts for c in classes]).view(-1, len(classes))
        irregular = any(a.dim is None and a.low.numel() > 1 for a in axes)
        outputs = self._listed(axes, classes) if irregular else self._crossed(axes, classes)
        return Mask(self._features(classes), outputs, corners)

    def _features(self, classes: tuple[_Class, ...]) -> Tensor:
        """(G, n) flat indices of each block's features, all channels of its places."""
        index = self._inputs()
        return _looked_up(index, *_cross([c.positions for c in classes], list(index.shape[:-1])))

    def _crossed(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Tensor:
        """(G, L): where outputs lie along the axes, products of what each axis owns."""
        index = self._along(axes)
        whole = torch.zeros(1, 1, dtype=torch.long, device=_CPU)
        lists = [whole if a.dim is None else c.outputs for a, c in zip(axes, classes, strict=True)]
        return _looked_up(index, *_cross(lists, list(index.shape[:-1])))

    def _listed(self, axes: list[Axis], classes: tuple[_Class, ...]) -> Tensor:
        """(G, L): where they do not, each block's outputs picked out one by one."""
        block = torch.zeros(1, dtype=torch.long, device=_CPU)
        absent = torch.zeros(1, dtype=torch.bool, device=_CPU)
        for a, c in zip(axes, classes, strict=True):
            along = shaped(c.block, a.dim, len(self.outputs))
            absent = absent | (along == _ABSENT)
            block = block * len(c.positions) + along
        blocks = math.prod(len(c.positions) for c in classes)
        total = math.prod(self.outputs)
        flat = torch.where(absent, blocks, block).expand(self.outputs).flatten()
        order = flat.argsort(stable=True)
        sizes = torch.bincount(flat, minlength=blocks + 1)[:-1].tolist()
        rows = torch.split(order[: sum(sizes)], sizes)
        return pad_sequence(list(rows), batch_first=True, padding_value=total)


def _looked_up(index: Tensor, flat: Tensor, absent: Tensor) -> Tensor:
    """Rows of an index (..., C) at flat places (G, n), (G, n C); its size for absent ones."""
    rows = index.flatten(0, -2)[flat]
    rows[absent] = index.numel()
    return rows.flatten(1)


def _cross(lists: list[Tensor], sizes: list[int]) -> tuple[Tensor, Tensor]:
    """`_paired` for all combinations of one row of each list, in order."""
    rows = torch.cartesian_prod(*[torch.arange(len(each), device=_CPU) for each in lists])
    numbers = rows.view(-1, len(lists)).T
    return _paired([each[number] for each, number in zip(lists, numbers, strict=True)], sizes)


def _paired(lists: list[Tensor], sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Flat indices (G, L) of products of one list an axis, each (G, l), and which are absent.

    Sizes are those of the axes that the lists index.
    """
    flat = torch.zeros(1, 1, dtype=torch.long, device=_CPU)
    absent = torch.zeros(1, 1, dtype=torch.bool, device=_CPU)
    for entries, size in zip(lists, sizes, strict=True):
        flat = (flat[:, :, None] * size + entries.clamp_min(0)[:, None]).flatten(1)
        absent = (absent[:, :, None] | (entries == _ABSENT)[:, None]).flatten(1)
    return flat, absent
