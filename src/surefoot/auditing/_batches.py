"""From a loader to those samples that every model gets right, in batches of one size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.auditing._loader import Batch, Masks, pieces, read
from surefoot.errors import SurefootError

Models = Mapping[str, nn.Module]


@dataclass
class Tally:
    """How many samples were seen, how many each model and all of them got right, how many taken."""

    seen: int = 0
    correct: dict[str, int] = field(default_factory=dict)
    correct_for_all: int = 0
    used: int = 0


@dataclass(frozen=True, eq=False)
class Source:
    """What is audited: data, models and which of the samples.

    Attributes:
        loader: an iterable of batches, or one batch.
        models: by name.
        masks: name of the entry of `extra` that holds the masks, or all of them by sample number.
        limit: number of samples taken, None for all that are right.
        size: samples of a batch.
        bounds: boxes that inputs must lie in.
    """

    loader: Any
    models: Models
    masks: Masks
    limit: int | None
    size: int
    bounds: Sequence[checks.Bounds] = ()

    def once(self) -> bool:
        """Whether the loader can be walked a single time only."""
        return isinstance(self.loader, Iterator)

    def batches(self, tally: Tally) -> Iterator[Batch]:
        """The samples that all models get right, in batches of one size; counted in `tally`.

        Raises:
            SurefootError: something that is not a batch, inputs that are not finite or leave the
                bounds, labels out of range; or no sample is left.
        """
        yield from _cut(self._right(tally), self.size)
        if not tally.seen:
            raise SurefootError("the loader is empty, expected at least one (inputs, labels) batch")
        if not tally.used:
            raise SurefootError(
                f"no sample is left to audit: of {tally.seen}, {_counts(tally.correct)}. Only "
                "samples that every model classifies correctly are taken; look at the labels' "
                "order and at the scaling of the inputs"
            )

    def _right(self, tally: Tally) -> Iterator[Batch]:
        for given in pieces(self.loader):
            if self.limit is not None and tally.used >= self.limit:
                return
            batch = read(given, self.masks, tally.seen)
            for bounds in self.bounds:
                checks.check_bounds(batch.inputs, bounds)
            right = batch[self._correct(batch, tally)]
            right = right[: None if self.limit is None else self.limit - tally.used]
            tally.used += len(right)
            if len(right):
                yield right

    def _correct(self, batch: Batch, tally: Tally) -> Tensor:
        """Which samples every model gets right, (n,) bool."""
        everyone = torch.ones(len(batch), dtype=torch.bool)
        for name, model in self.models.items():
            there = batch.to(device_of(model))
            logits = gradients.predict(model, there.inputs, there.extra)
            _check_labels_in_range(batch.labels, logits)
            right = (logits.argmax(1) == there.labels).cpu()
            tally.correct[name] = tally.correct.get(name, 0) + int(right.sum())
            everyone &= right
        tally.seen += len(batch)
        tally.correct_for_all += int(everyone.sum())
        return everyone


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter or buffer is; the CPU if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def _counts(correct: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} gets {count} right" for name, count in correct.items())


def _check_labels_in_range(labels: Tensor, logits: Tensor) -> None:
    classes = logits.shape[1]
    if ((labels < 0) | (labels >= classes)).any():
        raise SurefootError(
            f"labels span [{int(labels.min())}, {int(labels.max())}], expected class indices in "
            f"[0, {classes - 1}]: the model has {classes} outputs"
        )


def _cut(parts: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same samples in batches of `size`; where their form changes, a batch ends."""
    held: list[Batch] = []
    for part in parts:
        if held and held[0].form() != part.form():
            yield _join(held)
            held = []
        held.append(part)
        while sum(map(len, held)) >= size:
            whole = _join(held)
            yield whole[:size]
            held = [whole[size:]] if len(whole) > size else []
    if held:
        yield _join(held)


def _join(parts: Sequence[Batch]) -> Batch:
    first = parts[0]
    return Batch(
        torch.cat([part.numbers for part in parts]),
        torch.cat([part.inputs for part in parts]),
        torch.cat([part.labels for part in parts]),
        {name: torch.cat([part.extra[name] for part in parts]) for name in first.extra},
        None if first.mask is None else torch.cat([p.mask for p in parts if p.mask is not None]),
    )
