"""Augmentation of batches of images, on whatever device they are."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class CropAndFlip:
    """A random crop of the padded image, and its mirror image half of the time.

    Args:
        padding: black pixels put around; the crop moves by at most as many.
        flip: whether left and right are exchanged at random.

    >>> CropAndFlip(padding=4)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    padding: int = 4
    flip: bool = True

    def __call__(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Images (N, C, H, W), each moved and mirrored by draws of its own.

        The draws are made on the CPU, by torch's global generator if none is given.
        """
        count, reach = len(images), 2 * self.padding + 1
        down, right = (torch.randint(reach, (count,), generator=generator) for _ in range(2))
        flipped = torch.rand(count, generator=generator) < 0.5
        moved = _crop(images, self.padding, down.to(images.device), right.to(images.device))
        mirrored = flipped.to(images.device) & self.flip
        return torch.where(mirrored[:, None, None, None], moved.flip(3), moved)


def _crop(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, down, right]
