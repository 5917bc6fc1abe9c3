"""How alike two maps are, entry by entry and rank by rank."""

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.maps import (
    Count,
    average,
    check_grid,
    check_mass,
    check_pair,
    count,
    norm,
    ratio,
    result_type,
    rows,
    top,
    wide,
)
from surefoot.metric._kinds import DOWN, ONE, PAIR, POSITIVE, SIGNED, UP
from surefoot.metric._registry import measure


@measure(PAIR, ONE, UP)
def topk_intersection(a: Tensor, b: Tensor, k: Count = 1000) -> Tensor:
    """Share of the k largest entries of `a` that are among the k largest of `b`; higher is better.

    |top_k(a) & top_k(b)| / k (Ghorbani et al., arXiv 1710.10547; the "IN" of arXiv 1905.09957).
    Of equal entries the one with the lower flat index comes first, so a map with fewer than k
    entries above zero shares its first zeros with another such map.

    Args:
        a: maps (N, ...), flattened as they are; signs count.
        b: maps of the same shape.
        k: number of entries, or their share if a float below 1.

    Returns:
        (N,) in [0, 1]; symmetric.

    Raises:
        SurefootError: shapes or devices differ, values are not finite, or k exceeds the entries.

    >>> a, b = torch.tensor([[4.0, 3.0, 2.0, 1.0]]), torch.tensor([[4.0, 1.0, 2.0, 3.0]])
    >>> topk_intersection(a, b, k=2)
    tensor([0.5000])
    """
    check_pair(a, b)
    k = count(k, a[0].numel())
    both = top(rows(a), k) & top(rows(b), k)
    return both.sum(1).to(result_type(a, b)) / k


@measure(PAIR, SIGNED, UP)
def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps; higher is more alike.

    The Pearson correlation of the ranks, equal entries sharing the mean of their ranks
    (Spearman 1904). O(n log n).

    Returns:
        (N,) in [-1, 1]; NaN where either map is constant, since nothing is ranked there.

    >>> spearman(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([0.5000])
    """
    check_pair(a, b)
    return correlation(average(rows(a)), average(rows(b))).to(result_type(a, b))


@measure(PAIR, SIGNED, UP)
def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's linear correlation of two maps; higher is more alike. Differentiable.

    sum (a - mean a)(b - mean b) / (||a - mean a|| ||b - mean b||).

    Returns:
        (N,) in [-1, 1]; NaN where either map is constant.

    >>> pearson(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([0.5000])
    """
    check_pair(a, b)
    return correlation(wide(a), wide(b)).to(result_type(a, b))


@measure(PAIR, SIGNED, UP)
def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two maps; higher is more alike. Differentiable.

    sum a b / (||a|| ||b||).

    Returns:
        (N,) in [-1, 1]; NaN where either map is zero everywhere, since it has no direction.

    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    check_pair(a, b)
    return angle(wide(a), wide(b)).to(result_type(a, b))


@measure(PAIR, POSITIVE, DOWN)
def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of two maps, in their units; lower is more alike. Differentiable.

    ||a - b||_2. It shrinks with the maps: compare maps of one scale, or state their norms.

    Returns:
        (N,) in [0, inf).

    >>> l2(torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0, 5.0]]))
    tensor([5.])
    """
    check_pair(a, b)
    found = norm(wide(a) - wide(b)).to(result_type(a, b))
    if not found.isfinite().all():
        raise SurefootError(
            f"the distance of the maps is larger than {found.dtype} holds, values up to "
            f"{float(torch.stack([a, b]).detach().abs().max()):.3g}; scale both maps"
        )
    return found


@measure(PAIR, POSITIVE, DOWN)
def mass_centre_shift(a: Tensor, b: Tensor) -> Tensor:
    """How far the centre of mass moved, in pixels; lower is more alike. Differentiable.

    ||C(a) - C(b)||_2 with C(a) = sum_p a_p p / sum_p a_p over pixels p = (row, column) (Ghorbani
    et al., arXiv 1710.10547). Their code truncates C of the original to whole pixels; here it
    is not.

    Args:
        a: maps over a plane (N, H, W), nothing negative.
        b: maps of the same shape.

    Returns:
        (N,) in [0, sqrt((H - 1)^2 + (W - 1)^2)]; NaN where a map is zero everywhere.

    Raises:
        SurefootError: shapes or devices differ, the maps are not (N, H, W), hold negative
            values, or are not finite.

    >>> a, b = torch.zeros(1, 5, 5), torch.zeros(1, 5, 5)
    >>> a[0, 0, 0] = b[0, 3, 4] = 1
    >>> mass_centre_shift(a, b)
    tensor([5.])
    """
    check_pair(a, b)
    for value, name in ((a, "a"), (b, "b")):
        check_mass(check_grid(value, name), name)
    return norm(_centre(a) - _centre(b)).to(result_type(a, b))


def _centre(a: Tensor) -> Tensor:
    """The centre of mass (row, column) of maps (N, H, W), (N, 2)."""
    mass = wide(a)
    places = torch.cartesian_prod(*(torch.arange(n, device=a.device) for n in a.shape[1:]))
    return ratio(mass @ places.to(mass), mass.sum(1, keepdim=True))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each pair of rows (N, n), (N,); NaN where a row is constant."""
    varied = (a.amax(1) > a.amin(1)) & (b.amax(1) > b.amin(1))
    result = angle(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))
    return torch.where(varied, result, torch.full_like(result, torch.nan))


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each pair of rows (N, n), (N,); NaN where a row is zero."""
    a, b = _unit(a), _unit(b)
    return (a * b).sum(1).clamp(-1, 1)


def _unit(a: Tensor) -> Tensor:
    # Scaling by the largest entry first keeps the squares of tiny gradients from underflowing.
    scaled = ratio(a, a.detach().abs().amax(1, keepdim=True))
    return ratio(scaled, norm(scaled)[:, None])
