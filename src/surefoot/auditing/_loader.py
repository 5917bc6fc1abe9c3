"""Batches as they come from a loader, checked and numbered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from surefoot import checks
from surefoot.errors import SurefootError

Masks = str | Tensor | None

_EXPECTED = (
    "expected (inputs, labels) or (inputs, labels, extra), extra a mapping of further inputs; "
    "wrap the loader in a generator that gives that"
)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples and all that belongs to them, leading dimension n.

    Attributes:
        numbers: (n,), each sample's place in the whole data set, from 0.
        inputs: (n, ...).
        labels: (n,), the classes, which every model predicts.
        extra: further inputs of the models.
        mask: where the object is, shaped like a reduced map; None if there are none.
    """

    numbers: Tensor
    inputs: Tensor
    labels: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def map(self, change: Any) -> "Batch":
        """`change` applied to each tensor."""
        return Batch(
            change(self.numbers),
            change(self.inputs),
            change(self.labels),
            {name: change(value) for name, value in self.extra.items()},
            None if self.mask is None else change(self.mask),
        )

    def __getitem__(self, which: slice | Tensor) -> "Batch":
        return self.map(lambda value: value[which])

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return self.map(lambda value: value.to(device))

    def form(self) -> object:
        """What two batches must have in common to be joined."""
        one = {"": self.inputs, **self.extra} | ({} if self.mask is None else {"mask": self.mask})
        return {name: (value.shape[1:], value.dtype) for name, value in one.items()}


def pieces(loader: Any) -> Iterable[Any]:
    """The batches of a loader; a pair of tensors is one batch."""
    pair = isinstance(loader, list | tuple) and len(loader) in (2, 3)
    if pair and isinstance(loader[0], Tensor):
        return [loader]
    if isinstance(loader, Tensor | Mapping | str) or not isinstance(loader, Iterable):
        raise SurefootError(
            f"the loader is a {type(loader).__name__}, expected an iterable of (inputs, labels) "
            "batches such as a DataLoader, or one such pair"
        )
    return loader


def read(given: Any, masks: Masks, first: int) -> Batch:
    """One batch as it came, checked; its samples are numbered from `first`."""
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        came = f"a {type(given).__name__}"
        if isinstance(given, list | tuple):
            came = f"{len(given)} things"
        raise SurefootError(f"the loader gave {came} as a batch, {_EXPECTED}")
    inputs, labels, *rest = given
    checks.check_inputs(inputs)
    extra = checks.check_extra(rest[0] if rest else None, len(inputs))
    numbers = torch.arange(first, first + len(inputs))
    mask = _masks(masks, extra, numbers)
    return Batch(numbers, inputs.detach(), _labels(labels, len(inputs)), extra, mask).to(
        torch.device("cpu")
    )


def _labels(labels: Any, samples: int) -> Tensor:
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if not whole or found.shape != (samples,):
        raise SurefootError(
            f"labels have shape {tuple(found.shape)} and dtype {found.dtype}, expected class "
            f"indices ({samples},), one a sample; one-hot labels become indices with .argmax(1)"
        )
    return found.long()


def _masks(masks: Masks, extra: dict[str, Tensor], numbers: Tensor) -> Tensor | None:
    """The masks of these samples; taken out of `extra` where they came with it."""
    if isinstance(masks, str):
        if masks not in extra:
            raise SurefootError(
                f"masks={masks!r}, but the loader's batches hold {sorted(extra) or 'no extra'}; "
                "give them as third element: (inputs, labels, {" + repr(masks) + ": masks})"
            )
        return extra.pop(masks)
    if masks is None:
        return None
    last = int(numbers[-1])
    if len(masks) <= last:
        raise SurefootError(
            f"masks has {len(masks)} rows, but the loader has sample number {last}; give one row "
            "for each sample, in the loader's order"
        )
    return masks.cpu()[numbers]
