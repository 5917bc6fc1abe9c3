"""Whether a map lies on the object: maps against masks, nothing learned."""

import torch
from torch import Tensor
from torch.nn import functional

from surefoot.checks import check_plain
from surefoot.errors import SurefootError
from surefoot.maps import (
    Count,
    average,
    check_map,
    check_mass,
    count,
    ordinal,
    ratio,
    result_type,
    rows,
    top,
    wide,
)
from surefoot.metric._kinds import MASK, ONE, UP
from surefoot.metric._registry import measure


@measure(MASK, ONE, UP)
def pointing_game(h: Tensor, mask: Tensor, *, tolerance: int = 0) -> Tensor:
    """Whether the largest pixel lies on the object; higher is better.

    1 if argmax h is inside the mask, else 0 (Zhang et al., arXiv 1608.00507, with a tolerance of
    15 pixels). Where several pixels are largest, one inside is a hit.

    Args:
        h: maps (N, H, W), or any (N, ...) with tolerance 0.
        tolerance: pixels around the object that still count, Euclidean.

    Returns:
        (N,), 0 or 1; NaN where the mask is empty.

    Raises:
        SurefootError: shapes differ, values are not finite, the mask is not 0 and 1, or
            `tolerance` is negative or given for maps that are not (N, H, W).

    >>> h, mask = torch.eye(3)[None], torch.eye(3)[None].flip(1)
    >>> pointing_game(h, mask), pointing_game(h * torch.tensor([3.0, 2.0, 1.0]), mask)
    (tensor([1.]), tensor([0.]))
    """
    inside = _inside(h, mask)
    if not 0 <= tolerance < 2**15 or (tolerance and h.ndim != 3):
        raise SurefootError(
            f"tolerance={tolerance} for maps {tuple(h.shape)}: expected 0 or more pixels, and maps "
            "(N, H, W) where it is more than 0"
        )
    near = _grow(inside, tolerance) if tolerance else inside
    flat = rows(h)
    best = flat == flat.amax(1, keepdim=True)
    hit = (best & near.flatten(1)).any(1)
    return _known(hit, inside.flatten(1).any(1), h)


@measure(MASK, ONE, UP)
def relevance_mass_accuracy(h: Tensor, mask: Tensor) -> Tensor:
    """Share of the map's mass that lies on the object; higher is better.

    sum_{p in mask} h_p / sum_p h_p (Arras et al., arXiv 2003.07258).

    Args:
        h: maps (N, ...), nothing negative.

    Returns:
        (N,) in [0, 1]; NaN where the map is zero everywhere or the mask is empty. A map that is
        even scores the object's share of the picture.

    Raises:
        SurefootError: shapes differ, values are negative or not finite, or the mask is not 0 and 1.

    >>> relevance_mass_accuracy(torch.tensor([[1.0, 2.0, 1.0]]), torch.tensor([[0, 1, 1]]))
    tensor([0.7500])
    """
    inside = _inside(h, mask).flatten(1)
    mass = wide(check_mass(h, "h"))
    share = ratio((mass * inside).sum(1), mass.sum(1))
    return _known(share, inside.any(1), h)


@measure(MASK, ONE, UP)
def relevance_rank_accuracy(h: Tensor, mask: Tensor) -> Tensor:
    """Share of the K largest entries that lie on an object of K; higher is better.

    |top_K(h) & mask| / K, K = |mask| (Arras et al., arXiv 2003.07258). Ties as in
    `topk_intersection`.

    Returns:
        (N,) in [0, 1]; NaN where the mask is empty.

    >>> relevance_rank_accuracy(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1, 0, 1]]))
    tensor([0.5000])
    """
    inside = _inside(h, mask).flatten(1)
    size = inside.sum(1)
    best = ordinal(rows(h)) < size[:, None]
    hits = (best & inside).sum(1)
    return _known(hits / size.clamp(min=1), size > 0, h)


@measure(MASK, ONE, UP)
def topk_localisation(h: Tensor, mask: Tensor, k: Count = 1000) -> Tensor:
    """Share of the k largest entries that lie on the object; higher is better.

    |top_k(h) & mask| / k (Theiner et al., arXiv 2104.14995). Ties as in `topk_intersection`.

    Args:
        k: number of entries, or their share if a float below 1.

    Returns:
        (N,) in [0, 1], at most |mask| / k; NaN where the mask is empty.

    Raises:
        SurefootError: shapes differ, values are not finite, the mask is not 0 and 1, or k exceeds
            the entries.

    >>> topk_localisation(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1, 0, 1]]), k=1)
    tensor([1.])
    """
    inside = _inside(h, mask).flatten(1)
    k = count(k, inside.shape[1])
    return _known((top(rows(h), k) & inside).sum(1) / k, inside.any(1), h)


@measure(MASK, ONE, UP)
def localisation_auc(h: Tensor, mask: Tensor) -> Tensor:
    """Area under the ROC curve of the map as a detector of the object; higher is better.

    The probability that an entry on the object exceeds one off it, a tie counting half: the
    Mann-Whitney statistic (sum of the object's ranks - K (K + 1) / 2) / (K (n - K)), with shared
    ranks (Fawcett 2006, Pattern Recognition Letters 27).

    Returns:
        (N,) in [0, 1], 0.5 for a constant map; NaN where the mask is empty or full.

    >>> localisation_auc(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1, 0, 1]]))
    tensor([0.5000])
    """
    inside = _inside(h, mask).flatten(1)
    ranks = average(rows(h))
    size = inside.sum(1).to(ranks)
    wins = (ranks * inside).sum(1) - size * (size - 1) / 2
    return ratio(wins, size * (inside.shape[1] - size)).to(result_type(h))


def _inside(h: Tensor, mask: Tensor) -> Tensor:
    check_map(h, "h")
    if not isinstance(mask, Tensor) or mask.shape != h.shape or mask.device != h.device:
        came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise SurefootError(
            f"mask is {came}, expected a tensor shaped like h, {tuple(h.shape)}, on {h.device}"
        )
    check_plain(mask, "mask")
    if not ((mask == 0) | (mask == 1)).all():
        raise SurefootError("mask holds values other than 0 and 1; threshold it, e.g. mask > 0.5")
    return mask.bool()


def _known(value: Tensor, known: Tensor, h: Tensor) -> Tensor:
    return torch.where(known, value.to(result_type(h)), torch.nan)


def _grow(mask: Tensor, radius: int) -> Tensor:
    """A mask (N, H, W) grown by a disc of `radius` pixels, bool."""
    place = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (place[:, None] ** 2 + place**2 <= radius**2).float()
    return functional.conv2d(mask[:, None].float(), disc[None, None], padding=radius)[:, 0] > 0.5
