"""From bounds of a map's places to what is certain of its k largest."""

import torch
from torch import Tensor

from surefoot.certify._interval import Interval, Rounding
from surefoot.maps import Layout, Reduction, reduce


def reduced(found: Interval, reduction: Reduction, layout: Layout, rounding: Rounding) -> Interval:
    """Bounds of the reduced map, one number a place, from those of attributions (N, ...)."""
    if reduction.endswith("abs"):
        low = found.low.maximum(-found.high).clamp_min(0)
        found = Interval(low, found.size)
    result = Interval(*(reduce(end, reduction, layout) for end in found))
    channels = found.low.numel() // result.low.numel()
    sizes = reduce(found.size, "sum_abs", layout)
    return result.widened(rounding.slack(sizes, channels)) if channels > 1 else result


def certain(places: Interval, k: int) -> Tensor:
    """int8 like the places: 1 certainly among the k largest, 0 certainly not, -1 unknown.

    >>> ends = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[4.0, 2.0, 1.5]])
    >>> certain(Interval(*ends), 1), certain(Interval(*ends), 2)
    (tensor([[1, 0, 0]], dtype=torch.int8), tensor([[ 1, -1, -1]], dtype=torch.int8))
    """
    low, high = (end.flatten(1).contiguous() for end in places)
    count = low.shape[1]
    # How many may be as large as the least that this one can be: itself, and its rivals.
    rivals = count - torch.searchsorted(high.sort(1).values, low, right=False)
    # How many are larger for certain than the most that this one can be.
    above = count - torch.searchsorted(low.sort(1).values, high, right=True)
    mask = torch.full_like(low, -1, dtype=torch.int8)
    mask[rivals <= k] = 1
    mask[above >= k] = 0
    return mask.view_as(places.low)


def overlap(places: Interval, inside: Tensor, k: int) -> Tensor:
    """The least that the k largest can share with `inside`, as a share of k, (N,), float64.

    For m of the k to be others, the m-th largest upper bound outside must reach the m-th smallest
    lower bound inside; and where it does, there are numbers within the bounds that do it.

    Args:
        places: bounds of every place, (N, ...).
        inside: bool (N, ...), the k places of each sample to compare with.
        k: their number.
    """
    low, high = (end.flatten(1) for end in places)
    ours = inside.flatten(1)
    number = min(k, low.shape[1] - k)
    if not number:
        return low.new_ones(len(low), dtype=torch.float64)
    weakest = torch.where(ours, low, torch.inf).sort(1).values[:, :number]
    rivals = torch.where(ours, -torch.inf, high).sort(1, descending=True).values[:, :number]
    return 1 - (rivals >= weakest).double().sum(1) / k
