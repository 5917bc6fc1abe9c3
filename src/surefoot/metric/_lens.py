"""Locality-sensitive top-k overlap, LENS (Kamath et al., AAAI 2024)."""

from torch import Tensor
from torch.nn import functional

from surefoot.errors import SurefootError
from surefoot.maps import Count, check_grid, check_pair, count, result_type, rows, top
from surefoot.metric._kinds import ONE, PAIR, UP
from surefoot.metric._registry import measure


@measure(PAIR, ONE, UP)
def lens_recall(a: Tensor, b: Tensor, k: Count = 1000, *, window: int = 1) -> Tensor:
    """Share of the k largest pixels of `b` that lie near the k largest of `a`; higher is better.

    |N_w(top_k(a)) & top_k(b)| / k, where N_w adds to each pixel its (2 w + 1) x (2 w + 1)
    neighbours (Kamath et al., AAAI 2024: LENS-recall@k, with `a` the original map). The
    neighbourhoods are true 2-D windows cut at the border: the published code's run on flat
    indices and wrap from one row's end into the next. Ties as in `topk_intersection`.

    Args:
        a: maps (N, H, W) of the originals.
        b: maps of the same shape, of the perturbed inputs.
        k: number of pixels, or their share if a float below 1.
        window: w in pixels; 0 gives `topk_intersection`.

    Returns:
        (N,) in [0, 1], never below `topk_intersection`.

    Raises:
        SurefootError: shapes or devices differ, the maps are not (N, H, W) or not finite, k
            exceeds the pixels, or `window` is negative.

    >>> import torch
    >>> a, b = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    >>> a[0, 0, 0] = b[0, 1, 1] = 1
    >>> lens_recall(a, b, k=1), lens_recall(a, b, k=1, window=0)
    (tensor([1.]), tensor([0.]))
    """
    first, second, k = _tops(a, b, k, window)
    return (dilate(first, window) & second).flatten(1).sum(1).to(result_type(a, b)) / k


@measure(PAIR, ONE, UP)
def lens_precision(a: Tensor, b: Tensor, k: Count = 1000, *, window: int = 1) -> Tensor:
    """Share of the k largest pixels of `a` that lie near the k largest of `b`; higher is better.

    |top_k(a) & N_w(top_k(b))| / k (Kamath et al., AAAI 2024: LENS-prec@k): `lens_recall` with the
    maps exchanged.

    Args:
        a: maps (N, H, W) of the originals.
        b: maps of the same shape, of the perturbed inputs.
        k: number of pixels, or their share if a float below 1.
        window: w in pixels; 0 gives `topk_intersection`.

    Returns:
        (N,) in [0, 1], never below `topk_intersection`.

    Raises:
        SurefootError: as `lens_recall`.

    >>> import torch
    >>> a, b = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    >>> a[0, 0, 0] = b[0, 0, 2] = 1
    >>> lens_precision(a, b, k=1), lens_precision(a, b, k=1, window=2)
    (tensor([0.]), tensor([1.]))
    """
    return lens_recall(b, a, k, window=window)


def _tops(a: Tensor, b: Tensor, k: Count, window: int) -> tuple[Tensor, Tensor, int]:
    check_pair(a, b)
    check_grid(a)
    if window < 0:
        raise SurefootError(f"window={window}, expected 0 or more pixels")
    entries = count(k, a[0].numel())
    return top(rows(a), entries).view_as(a), top(rows(b), entries).view_as(b), entries


def dilate(mask: Tensor, window: int) -> Tensor:
    """A mask (N, H, W) grown by `window` pixels to each side, bool."""
    grown = functional.max_pool2d(mask.float()[:, None], 2 * window + 1, stride=1, padding=window)
    return grown[:, 0].bool()
