"""How far a change of the input reaches at a layer, axis by axis of the input's places.

It is measured, not derived: NaN put into the input turns exactly the outputs NaN that can depend on
it, whatever the activations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.chunking import each_block, rows_per_batch

_CPU = "cpu"  # said, because torch's default device is the user's

Run = Callable[[Tensor], Tensor]  # rows (R, ...) to the layer's outputs (R, ...)


@dataclass(frozen=True)
class Axis:
    """Along one axis of places, which positions an output can depend on.

    Attributes:
        dim: the dimension of the outputs (without the batch) that lies along this axis: `low` and
            `high` are then (size of it,). None: they have the outputs' shape, or one entry for all.
        low: first position that reaches the output.
        high: last one; below `low` where none does.
    """

    dim: int | None
    low: Tensor
    high: Tensor


def axis(run: Run, sample: Tensor, dim: int, starts: list[int], patch: int) -> Axis:
    """How the positions along dimension `dim` of a sample (1, ...) reach the layer.

    Args:
        run: the trunk.
        sample: the input.
        dim: of the sample, batch counted.
        starts: of the patches along it.
        patch: side of a patch.
    """
    size = sample.shape[dim]
    middle = starts[len(starts) // 2]
    everything = _hit(run, sample, dim, [slice(middle, middle + patch)])
    if len(starts) < 2 or everything.all():
        return Axis(None, torch.tensor([0], device=_CPU), torch.tensor([size - 1], device=_CPU))
    if everything.ndim == sample.ndim:
        regular = _regular(run, sample, dim, everything.shape[dim])
        if regular is not None:
            return regular
    return _irregular(run, sample, dim, starts, patch)


def _irregular(run: Run, sample: Tensor, dim: int, starts: list[int], patch: int) -> Axis:
    """Each output's first and last position, from one pass for each patch."""
    hits = _hit(run, sample, dim, [slice(start, start + patch) for start in starts])
    low = torch.full(hits.shape[1:], sample.shape[dim], device=_CPU)
    high = torch.full_like(low, -1)
    for start, hit in zip(starts, hits, strict=True):
        low[hit] = low[hit].clamp_max(start)
        high[hit] = start + patch - 1
    return Axis(None, low, high)


def _regular(run: Run, sample: Tensor, dim: int, out: int) -> Axis | None:
    """The same where outputs lie along the axis: one stride's worth of probes, and two checks.

    The reach of the positions in the middle is extended by the stride; None where that fails.
    """
    size = sample.shape[dim]
    stride = max(1, round(size / out))
    start = (size // 2) // stride * stride
    checks = [size // 4, 3 * size // 4]
    probes = [*range(start, min(start + stride, size)), *checks]
    hits = _hit(run, sample, dim, [slice(p, p + 1) for p in probes])
    along = hits.movedim(dim, 1).flatten(2).any(2)  # (probes, out)
    touched = along[: -len(checks)]
    if len(touched) < stride or touched.all(1).any() or not touched.any():
        return None
    first, last = _extended(touched, start // stride, torch.arange(size, device=_CPU))
    for position, hit in zip(checks, along[-len(checks) :], strict=True):
        found = hit.nonzero()[:, 0]
        if len(found) and not (first[position] <= found[0] and found[-1] <= last[position]):
            return None
    k = torch.arange(out, device=_CPU)
    low = torch.searchsorted(last, k)
    return Axis(dim - 1, low, torch.searchsorted(first, k, right=True) - 1)


def _extended(touched: Tensor, cycle: int, positions: Tensor) -> tuple[Tensor, Tensor]:
    """First and last output of each position, non-decreasing; touched is (stride, out)."""
    stride, out = touched.shape
    k = torch.arange(out, device=_CPU)
    first = torch.where(touched, k, out).amin(1) - cycle
    last = torch.where(touched, k, -1).amax(1) - cycle
    # A position that reaches nothing, as between strides, gets an empty reach in order.
    none = ~touched.any(1)
    first[none], last[none] = out, -out
    turn, rest = positions // stride, positions % stride
    firsts = (first[rest] + turn).flip(0).cummin(0).values.flip(0)
    return firsts, (last[rest] + turn).cummax(0).values


def _hit(run: Run, sample: Tensor, dim: int, where: list[slice]) -> Tensor:
    """(len(where), ...) bool: the outputs that NaN in each of these slices along `dim` reaches."""
    rows = sample.repeat(len(where), *[1] * (sample.ndim - 1))
    for row, part in zip(rows, where, strict=True):
        row.narrow(dim - 1, part.start, min(part.stop, sample.shape[dim]) - part.start).fill_(
            torch.nan
        )
    parts = each_block(
        len(rows), 1, rows_per_batch(sample, None), lambda block: run(rows[block.samples]).isnan()
    )
    return torch.cat([hits.cpu() for _, hits in parts])
