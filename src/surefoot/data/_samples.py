"""A data set held as two tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from surefoot.errors import SurefootError


@dataclass(frozen=True, eq=False)
class Samples(Dataset[tuple[Tensor, int]]):
    """Samples in memory: `samples[3]` is one (input, label), `samples[numbers]` a batch.

    Images are kept as bytes and come out as float32 in [0, 1].

    Attributes:
        stored: the inputs, (N, ...); uint8 pixels, or what `inputs` is to be.
        labels: the classes, (N,) int64.
        classes: their names, in the order of the logits.
        bounds: the box that the inputs live in.
        name: where they come from, such as "fashion-mnist/test".

    >>> pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    >>> samples = Samples(pixels, torch.tensor([0, 1, 1]), ("cat", "dog"))
    >>> samples[1]
    (tensor([[[0.2000]]]), 1)
    >>> inputs, labels = samples[torch.tensor([2, 0])]
    >>> inputs.flatten(), labels
    (tensor([1., 0.]), tensor([1, 0]))
    """

    stored: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    name: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> tuple[Tensor, int]:
        if isinstance(index, int):
            return _scaled(self.stored[index]), int(self.labels[index])
        return _scaled(self.stored[index]), self.labels[index]  # type: ignore[return-value]

    @property
    def inputs(self) -> Tensor:
        """All inputs, (N, ...) float32; made anew at each call."""
        return _scaled(self.stored)

    def take(self, index: slice | Sequence[int] | Tensor) -> "Samples":
        """The samples of those numbers, as a data set."""
        return replace(self, stored=self.stored[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> "Samples":
        """The same on a device, so that batches are made there."""
        return replace(self, stored=self.stored.to(device), labels=self.labels.to(device))


def check_labels(labels: Tensor, samples: int, classes: Sequence[str], name: str) -> None:
    """Raise unless there is one class of `classes` for each sample."""
    if len(labels) != samples:
        raise SurefootError(f"{name} holds {samples} inputs but {len(labels)} labels")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise SurefootError(
            f"{name} has labels in [{int(labels.min())}, {int(labels.max())}], expected "
            f"[0, {len(classes) - 1}]: it has {len(classes)} classes"
        )


def _scaled(stored: Tensor) -> Tensor:
    return stored.float() / 255 if stored.dtype == torch.uint8 else stored
