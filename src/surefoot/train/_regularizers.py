"""CACR and WACR, the regularisers of Sarkar et al. (arXiv 2012.14395), from their released code."""

from typing import Literal

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.explain import reduce
from surefoot.maps import Layout, wide

Temperature = float | Literal["auto"]


def cacr(
    true: Tensor,
    other: Tensor,
    temperature: Temperature = 1.0,
    layout: Layout | None = None,
) -> Tensor:
    """KL(U || P_N) - KL(U || P_T): the class map skewed, the runner-up's uniform; (N,), float64.

    P = softmax of a map's signed sum over channels, U is uniform over its HW places ("eq8" and
    "eq9" in comments of the released code). At temperature 1, as released, the term is nearly inert
    for maps whose entries are far below 1: KL(U || softmax(a)) is about Var(a) / 2, and an image's
    map adds up to at most 1. It has no lower bound.

    Args:
        true: TCA, (N, ...), attributions of the label's probability at x'.
        other: NCA, those of the runner-up's.
        temperature: what both maps are divided by; "auto" (this project's remedy) takes the root
            mean square of the two maps' standard deviations, sample by sample, without a gradient
            through it.
        layout: what the axes of the maps mean, see `explain.reduce`.
    """
    true, other = (wide(reduce(each, "sum", layout)) for each in (true, other))
    scale = _scale(true, other, temperature)
    return from_uniform(other / scale) - from_uniform(true / scale)


def _scale(true: Tensor, other: Tensor, temperature: Temperature) -> Tensor:
    if temperature == "auto":
        both = torch.stack([true.detach(), other.detach()])
        spread = both.var(2, correction=0, keepdim=True).mean(0).sqrt()
        return torch.where(spread > 0, spread, torch.ones_like(spread))
    if isinstance(temperature, str) or not temperature > 0:
        raise SurefootError(f'temperature={temperature!r}, expected a number above 0 or "auto"')
    return true.new_tensor(temperature)


def from_uniform(rows: Tensor) -> Tensor:
    """KL(U || softmax(a)) of rows (N, n), in [0, inf).

    -log n - mean log softmax(a) = log mean exp(a) - mean a; centred, and to be given in float64,
    because the difference of the two is far below them.
    """
    centred = rows - rows.mean(1, keepdim=True)
    count = centred.new_tensor(float(rows.shape[1]))
    return centred.logsumexp(1) - count.log()


def wacr(base: Tensor, change: Tensor) -> Tensor:
    """The change of the attribution weighed by the attribution, (N,), in [0, inf).

    sum_i B_i C_i where the signs agree (0 and 0 do), |C_i| where they do not, over places and
    channels ("eq7" to "eq9" in comments of the released code).

    Args:
        base: B, (N, ...), attributions of x.
        change: C = -IG^loss(x -> x'), (N, ...).

    >>> wacr(torch.tensor([[2.0, 2.0]]), torch.tensor([[3.0, -3.0]]))
    tensor([9.])
    """
    agree = base.sign() == change.sign()
    return torch.where(agree, base * change, change.abs()).flatten(1).sum(1)
