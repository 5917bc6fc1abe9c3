"""A data set held as two tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from surefoot.errors import SurefootError

Numbers = slice | Sequence[int] | Tensor
Augment = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Samples(Dataset[tuple[Tensor, int]]):
    """Samples in memory: `samples[3]` is one (input, label), `samples[numbers]` a batch.

    Images are kept as bytes and come out as float32 in [0, 1].

    Attributes:
        stored: the inputs, (N, ...); uint8 pixels, or what `inputs` is to be.
        labels: the classes, (N,) int64.
        classes: their names, in the order of the logits.
        bounds: the box that the inputs live in; None for tokens.
        name: where they come from, such as "fashion-mnist/test".
        augment: what becomes of a batch of inputs that is taken by number, see `augmented`.

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
    bounds: tuple[float, float] | None = (0.0, 1.0)
    name: str = ""
    augment: Augment | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels, len(self.stored), self.classes, self.name or "the data set")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | Numbers) -> tuple[Tensor, int]:
        """One sample of one number; of several, a batch (inputs, labels) of tensors."""
        inputs, labels = _scaled(self.stored[index]), self.labels[index]
        inputs = apply(self.augment, inputs, one=labels.ndim == 0)
        return inputs, int(labels) if labels.ndim == 0 else labels  # type: ignore[return-value]

    @property
    def inputs(self) -> Tensor:
        """All inputs, (N, ...) float32 for images, not augmented; made anew at each call."""
        return _scaled(self.stored)

    def take(self, numbers: Numbers) -> Self:
        """The samples of those numbers, as a data set."""
        return replace(self, stored=self.stored[numbers], labels=self.labels[numbers])

    def augmented(self, augment: Augment | None) -> Self:
        """The same, with `augment` (such as `CropAndFlip()`) on whatever is taken by number."""
        if augment is not None and not callable(augment):
            raise SurefootError(f"augment={augment!r}, expected a callable such as CropAndFlip()")
        return replace(self, augment=augment)

    def samples(self) -> Self:
        """Itself, so that what `load` gives can be had in memory whatever it is."""
        return self

    def to(self, device: torch.device | str) -> Self:
        """The same on a device, so that batches are made there."""
        return replace(self, stored=self.stored.to(device), labels=self.labels.to(device))


def apply(augment: Augment | None, inputs: Tensor, *, one: bool) -> Tensor:
    """The augmented inputs: a batch, or `one` input without a batch dimension."""
    if augment is None:
        return inputs
    return augment(inputs[None])[0] if one else augment(inputs)


def check_labels(labels: Tensor, samples: int, classes: Sequence[str], name: str) -> None:
    """Raise unless `labels` holds one class of `classes`, as an integer, for each sample."""
    if labels.ndim != 1 or len(labels) != samples:
        raise SurefootError(
            f"{name} holds {samples} inputs but labels {tuple(labels.shape)}, expected one for each"
        )
    if labels.dtype != torch.int64:
        raise SurefootError(
            f"{name} has labels of {labels.dtype}, expected class indices: labels.long()"
        )
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise SurefootError(
            f"{name} has labels in [{int(labels.min())}, {int(labels.max())}], expected "
            f"[0, {len(classes) - 1}]: it has {len(classes)} classes"
        )


def _scaled(stored: Tensor) -> Tensor:
    return stored.float() / 255 if stored.dtype == torch.uint8 else stored
