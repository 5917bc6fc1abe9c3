"""Gaussian blur as two matrix products, one a side; several times faster than a convolution."""

import torch
from torch import Tensor


def blur(images: Tensor, size: int, sigma: float, *, edges: bool) -> Tensor:
    """Images (..., H, W) under a Gaussian window whose weights sum to 1.

    Args:
        images: any floating dtype.
        size: odd side of the window.
        sigma: of the Gaussian, in pixels.
        edges: whether the border is repeated outwards, which keeps the size; else only places
            where the window fits remain, (..., H - size + 1, W - size + 1).

    >>> blur(torch.ones(1, 4, 5), 3, 1.5, edges=False)
    tensor([[[1., 1., 1.],
             [1., 1., 1.]]])
    """
    down, across = (_band(n, size, sigma, edges).to(images) for n in images.shape[-2:])
    return down @ images @ across.T


def _band(entries: int, size: int, sigma: float, edges: bool) -> Tensor:
    """The matrix that blurs a vector of `entries`, float64."""
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = torch.exp(-((place / sigma) ** 2) / 2)
    weight = weight / weight.sum()
    rows = entries if edges else entries - size + 1
    column = torch.arange(rows)[:, None] + torch.arange(size) - (size // 2 if edges else 0)
    band = torch.zeros(rows, entries, dtype=torch.float64)
    return band.scatter_add_(1, column.clamp(0, entries - 1), weight.expand(rows, size))
