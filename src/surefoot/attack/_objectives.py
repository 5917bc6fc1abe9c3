"""What several objectives are made of."""

import torch
from torch import Tensor

from surefoot.errors import SurefootError


def shares(reduced: Tensor) -> Tensor:
    """Each place's share of its map's sum of absolutes, shaped like `reduced` (n, ...).

    >>> shares(torch.tensor([[1.0, 3.0]]))
    tensor([[0.2500, 0.7500]])
    """
    total = reduced.abs().flatten(1).sum(1).clamp_min(torch.finfo(reduced.dtype).tiny)
    return reduced / total.view(-1, *[1] * (reduced.ndim - 1))


def check_plane(reduced: Tensor, who: str) -> Tensor:
    """`reduced` itself, if it is a batch of maps over a plane, (N, H, W)."""
    if reduced.ndim != 3:
        raise SurefootError(
            f"{who} needs maps over a plane (N, H, W), got {tuple(reduced.shape)}; for records and "
            "tokens use TopK or Dissimilarity, or Target with a region of your own"
        )
    return reduced
