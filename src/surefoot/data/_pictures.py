"""A data set whose pictures are read when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from surefoot.data._samples import Augment, Numbers, Samples, apply

Read = Callable[[int], tuple[Tensor, int]]


@dataclass(frozen=True, eq=False)
class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures on disk: `pictures[3]` is one (image, label), `pictures[numbers]` a batch.

    Images are float32 in [0, 1], (C, H, W). `samples` brings all of them into memory.

    Attributes:
        read: from a number to pixels (C, H, W) uint8 and a label; it can be pickled, so that
            the workers of a `DataLoader` can read.
        numbers: those of the pictures, as `read` has them.
        classes: names, in the order of the logits.
        bounds: the box that the images live in.
        name: where they come from, such as "imagenet/test".
        augment: what becomes of images that are taken by number, see `augmented`.

    >>> def read(number):  # yours opens a file
    ...     return torch.full((3, 4, 4), number, dtype=torch.uint8), number % 2
    >>> pictures = Pictures(read, range(10), ("even", "odd"))
    >>> image, label = pictures[3]
    >>> len(pictures), image.shape, label, pictures[[0, 1, 2]][1]
    (10, torch.Size([3, 4, 4]), 1, tensor([0, 1, 0]))
    """

    read: Read
    numbers: Sequence[int]
    classes: tuple[str, ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    name: str = ""
    augment: Augment | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int | Numbers) -> tuple[Tensor, int]:
        """One picture of one number; of several, a batch (images, labels) of tensors."""
        chosen = torch.arange(len(self))[index]
        if chosen.ndim == 0:
            pixels, label = self.read(self.numbers[int(chosen)])
            return apply(self.augment, pixels.float() / 255, one=True), label
        pixels, labels = self._several(chosen)
        images = apply(self.augment, pixels.float() / 255, one=False)
        return images, labels  # type: ignore[return-value]

    def take(self, numbers: Numbers) -> "Pictures":
        """The pictures of those numbers, as a data set."""
        kept = torch.arange(len(self))[numbers].tolist()
        return replace(self, numbers=[self.numbers[number] for number in kept])

    def augmented(self, augment: Augment | None) -> "Pictures":
        """The same, with `augment` (such as `CropAndFlip()`) on whatever is taken by number."""
        return replace(self, augment=augment)

    def samples(self) -> Samples:
        """All of them in memory, in bytes."""
        pixels, labels = self._several(torch.arange(len(self)))
        return Samples(pixels, labels, self.classes, self.bounds, self.name, self.augment)

    def _several(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        read = (self.read(self.numbers[number]) for number in chosen.tolist())
        images, labels = zip(*read, strict=True)
        return torch.stack(images), torch.tensor(labels)
