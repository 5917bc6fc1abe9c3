"""Batches as they come from a loader, checked and numbered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot import checks
from surefoot.errors import SurefootError
from surefoot.recipes import show

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
    """The classes (n,), from a tensor, an array, a list or a column of a table."""
    try:
        array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except (TypeError, ValueError):  # lists of unequal lengths
        array = np.empty(0)
    if array.dtype.kind in "iu" and array.shape == (samples,):
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind in "OSU":
        came = f"such as {show(next(iter(array.flat), None))}, which are no numbers"
    else:
        came = f"of shape {array.shape} and dtype {getattr(labels, 'dtype', array.dtype)}"
    raise SurefootError(
        f"labels are {came}, expected class indices ({samples},), one a sample: the numbers of the "
        "model's outputs; one-hot labels become indices with .argmax(1)"
    )


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
