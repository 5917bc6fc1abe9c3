"""How few entries carry a map."""

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.maps import check_map, positions, result_type, wide
from surefoot.metric._kinds import DOWN, MAP, ONE, POSITIVE, UP
from surefoot.metric._registry import measure


@measure(MAP, ONE, UP)
def gini(a: Tensor, *, offset: float = 1e-7) -> Tensor:
    """Gini index of the absolute values; higher is sparser.

    G = sum_i (2 i - n - 1) v_i / (n sum_i v_i), v = |a| + offset sorted ascending, i = 1..n
    (Chalasani et al., arXiv 1810.06583, with the offset of their code). The offset makes maps of
    tiny gradients look even; 0 makes the index independent of the map's scale.

    Args:
        a: maps (N, ...), flattened as they are; absolutes are taken here. Raw attributions and
            maps reduced over channels give different values: say which.
        offset: added to each absolute value.

    Returns:
        (N,) in [0, 1 - 1/n]: 0 for even maps, 1 - 1/n where one entry holds all. A map that is
        zero everywhere is even and gets 0, whatever the offset.

    Raises:
        SurefootError: not a batch of finite maps, or a negative offset.

    >>> gini(torch.tensor([[0.0, 0.0, 0.0, -2.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([0.7500, 0.0000])
    """
    if not offset >= 0:
        raise SurefootError(f"offset={offset}, expected 0 or more")
    value = _mass(check_map(a), offset).sort(1).values
    entries = value.shape[1]
    weight = positions(value).mul(2) + (1 - entries)
    return ((weight * value).sum(1) / entries).to(result_type(a))


@measure(MAP, POSITIVE, DOWN)
def entropy(a: Tensor) -> Tensor:
    """Entropy of the absolute values as shares, in nats; lower is less complex.

    -sum_i q_i ln q_i, q = |a| / sum |a| ("complexity", Bhatt et al., arXiv 2005.00631).

    Args:
        a: maps (N, ...), flattened as they are; absolutes are taken here.

    Returns:
        (N,) in [0, ln n]; a map that is zero everywhere is even and gets ln n.

    >>> entropy(torch.tensor([[0.0, 0.0, 0.0, -2.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([0.0000, 1.3863])
    """
    each: Tensor = torch.special.entr(_mass(check_map(a)))
    return each.sum(1).to(result_type(a))


@measure(MAP, POSITIVE, DOWN)
def effective_complexity(a: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Number of entries that matter; lower is less complex.

    #{i: a_i > epsilon max_j |a_j|} (Nguyen & Martinez, arXiv 2007.07584, whose threshold is chosen
    by the drop in performance; one relative to the map's largest absolute is this project's
    choice). Negative entries do not count: pass absolutes to count them.

    Args:
        a: maps (N, ...), flattened as they are.
        epsilon: share of the largest absolute that an entry must exceed, in [0, 1).

    Returns:
        (N,) in [0, n]; 0 for a map that is zero everywhere.

    Raises:
        SurefootError: not a batch of finite maps, or `epsilon` out of range.

    >>> effective_complexity(torch.tensor([[0.0, 0.5, -2.0, 1e-9]]))
    tensor([1.])
    """
    if not 0 <= epsilon < 1:
        raise SurefootError(f"epsilon={epsilon}, expected a share of the maximum in [0, 1)")
    flat = wide(check_map(a))
    least = epsilon * flat.abs().amax(1, keepdim=True)
    return (flat > least).sum(1).to(result_type(a))


def _mass(a: Tensor, offset: float = 0.0) -> Tensor:
    """|a| + offset scaled to sum 1, (N, n); even where the map is zero."""
    flat = wide(a).abs() + offset
    peak = flat.amax(1, keepdim=True)
    flat = torch.where(peak > 0, flat / torch.where(peak > 0, peak, 1.0), 1.0)
    return flat / flat.sum(1, keepdim=True)
