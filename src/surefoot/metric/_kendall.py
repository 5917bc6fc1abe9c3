"""Kendall's tau-b in O(n log n) (Knight 1966, J. Am. Stat. Assoc. 61), many rows at once."""

import importlib
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from surefoot.maps import changes, check_pair, positions, result_type, rows, run_starts
from surefoot.metric._kinds import PAIR, SIGNED, UP
from surefoot.metric._registry import measure


@measure(PAIR, SIGNED, UP)
def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's rank correlation tau-b of two maps; higher is more alike.

    tau_b = (P - Q) / sqrt((n0 - n_a) (n0 - n_b)), with P concordant and Q discordant pairs of
    entries, n0 = n (n - 1) / 2 pairs in all, n_a and n_b pairs tied in a and in b (Kendall 1945;
    the "CO" of attributional robustness, arXiv 1905.09957). Exact. On a CPU with scipy it is
    scipy's, sample by sample; elsewhere it is counted on the device in O(n log n).

    Returns:
        (N,) in [-1, 1]; NaN where either map is constant, since nothing is ranked there.

    >>> kendall(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([0.3333])
    """
    check_pair(a, b)
    stats = _scipy_stats() if a.device.type == "cpu" else None
    tau = _tau_scipy(stats, a, b) if stats else tau_b(rows(a), rows(b))
    return tau.to(result_type(a, b))


def _scipy_stats() -> ModuleType | None:
    try:
        return importlib.import_module("scipy.stats")
    except ModuleNotFoundError:
        return None


def _tau_scipy(stats: ModuleType, a: Tensor, b: Tensor) -> Tensor:
    pairs = zip(rows(a).detach().numpy(), rows(b).detach().numpy(), strict=True)
    each = [stats.kendalltau(x, y).statistic for x, y in pairs]
    return torch.from_numpy(np.array(each, dtype=np.float64))


@torch.no_grad()
def tau_b(a: Tensor, b: Tensor) -> Tensor:
    """Tau-b of each pair of rows (N, n), (N,) double, on their device."""
    by_b = b.argsort(dim=1, stable=True)
    a_sorted, by_a = a.gather(1, by_b).sort(dim=1, stable=True)
    b_along = b.gather(1, by_b.gather(1, by_a))
    b_sorted, by_rank = b_along.sort(dim=1, stable=True)
    rank = torch.empty_like(by_rank).scatter_(1, by_rank, positions(b).expand_as(by_rank))

    new_a = changes(a_sorted)
    pairs = a.shape[1] * (a.shape[1] - 1) // 2
    tied_a, tied_b = tied_pairs(new_a), tied_pairs(changes(b_sorted))
    tied_both = tied_pairs(new_a | changes(b_along))
    excess = pairs - tied_a - tied_b + tied_both - 2 * inversions(rank.int())
    wide = torch.float32 if a.device.type == "mps" else torch.float64
    scale = (pairs - tied_a).to(wide).sqrt() * (pairs - tied_b).to(wide).sqrt()
    return (excess.to(wide) / scale).clamp(-1, 1)


def tied_pairs(new: Tensor) -> Tensor:
    """Number of pairs within the runs of each sorted row, (N,); `new` marks where runs begin."""
    return (positions(new) - run_starts(new)).sum(1)


def inversions(rank: Tensor) -> Tensor:
    """Pairs in the wrong order in each row, a permutation of 0 to n - 1: (N, n) int32 -> (N,).

    From the highest bit down, the entries that agree in all higher bits are one block of known
    place and size, still in their original order; a 1 before a 0 in it is an inversion that this
    bit decides. Then zeros move before ones, which makes the blocks of the next bit.

    >>> inversions(torch.tensor([[2, 0, 1], [0, 1, 2]], dtype=torch.int32))
    tensor([2, 0])
    """
    samples, entries = rank.shape
    bits = max(1, (entries - 1).bit_length())
    padding = torch.arange(entries, 2**bits, dtype=rank.dtype, device=rank.device)
    rank = torch.cat([rank, padding.expand(samples, -1)], 1)
    total = torch.zeros(samples, dtype=torch.int64, device=rank.device)
    for bit in reversed(range(bits)):
        block = rank.view(-1, 2 ** (bit + 1))
        one = (block >> bit) & 1
        ones_before = one.cumsum(1, dtype=rank.dtype) - one
        total += (ones_before * (1 - one)).view(samples, -1).sum(1)
        place = torch.where(one == 1, 2**bit + ones_before, positions(block) - ones_before)
        rank = torch.empty_like(block).scatter_(1, place.long(), block).view(samples, -1)
    return total
