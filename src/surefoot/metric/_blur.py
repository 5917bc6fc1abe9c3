"""Gaussian windows and blur."""

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_window(size: int, sigma: float) -> Tensor:
    """Gaussian weights that sum to 1, (size, size), float64.

    >>> gaussian_window(3, 1e9)[0] * 9
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = torch.exp(-((place / sigma) ** 2) / 2)
    return torch.outer(weight, weight) / weight.sum() ** 2


def blur(images: Tensor, size: int = 11, sigma: float = 5.0) -> Tensor:
    """Images (N, C, H, W) under a Gaussian window, each channel by itself, edges repeated."""
    channels = images.shape[1]
    kernel = gaussian_window(size, sigma).to(images).expand(channels, 1, -1, -1)
    padded = functional.pad(images, [size // 2] * 4, mode="replicate")
    return functional.conv2d(padded, kernel, groups=channels)
