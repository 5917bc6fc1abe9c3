"""From data to those samples that every model gets right, in blocks of consecutive numbers."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.auditing._data import Data
from surefoot.auditing._loader import Batch, Masks, read
from surefoot.errors import SurefootError
from surefoot.recipes import digest

Models = Mapping[str, nn.Module]


@dataclass
class Tally:
    """How many samples were seen, how many each model and all of them got right, how many taken."""

    seen: int = 0
    correct: dict[str, int] = field(default_factory=dict)
    correct_for_all: int = 0
    used: int = 0

    def add(self, other: "Tally") -> None:
        """Count the other's samples, too."""
        self.seen += other.seen
        self.correct_for_all += other.correct_for_all
        self.used += other.used
        for name, number in other.correct.items():
            self.correct[name] = self.correct.get(name, 0) + number


class Piece(NamedTuple):
    """Some samples of one block: those to be audited, and a count and digest of all."""

    block: int
    batch: Batch
    tally: Tally
    digest: str


class Survey(NamedTuple):
    """What walking all data told.

    Attributes:
        samples: their number, as far as it was walked.
        stop: number of the first sample that is not looked at, None if all are.
        batches: of audited samples.
    """

    samples: int | None
    stop: int | None
    batches: int


@dataclass(frozen=True, eq=False)
class Source:
    """What is audited: data, models and which of the samples.

    Attributes:
        data: samples by number.
        models: by name.
        masks: name of the entry of `extra` that holds the masks, or all of them by sample number.
        limit: number of samples taken, None for all that are right.
        block: consecutive sample numbers of a block.
        size: samples that go through together.
        bounds: boxes that inputs must lie in.
        stop: number of the first sample that is not looked at, None if all are.
    """

    data: Data
    models: Models
    masks: Masks
    limit: int | None
    block: int
    size: int
    bounds: Sequence[checks.Bounds] = ()
    stop: int | None = None

    def blocks(self) -> int | None:
        """The number of blocks, None where it is not known."""
        size = self.data.size if self.stop is None else self.stop
        return None if size is None else -(-size // self.block)

    def pending(self, done: Container[int] = ()) -> list[int] | None:
        """The blocks that are not done, in order; None where their number is not known."""
        number = self.blocks()
        return None if number is None else [one for one in range(number) if one not in done]

    def pieces(self, done: Container[int] = (), only: int | None = None) -> Iterator[Piece]:
        """Every sample of the blocks that are not done, or of one; those that are right set apart.

        What a piece holds depends on its block and on the loader alone.

        Raises:
            SurefootError: something that is not a batch, inputs that are not finite or leave the
                bounds, labels out of range, or fewer samples than masks.
        """
        blocks = (self.pending(done) or []) if only is None else [only]
        ranges = [part for block in blocks for part in self._ranges(block)]
        for first, given in self.data.walk(ranges):
            batch = read(given, self.masks, first)
            for bounds in self.bounds:
                checks.check_bounds(batch.inputs, bounds)
            for block, part in self._split(batch):
                if (only is not None and block > only) or not len(part):
                    return
                if only in (None, block) and block not in done:
                    yield self._piece(block, part)

    def survey(self) -> Survey:
        """Walk the data once, only to predict and to check every sample.

        Raises:
            SurefootError: as `pieces`; or the data are empty, or no sample is left.
        """
        every, batches, in_block, block = Tally(), 0, 0, -1
        stop = None
        for piece in self.pieces():
            in_block = in_block * (piece.block == block) % self.size
            block = piece.block
            right = len(piece.batch)
            if self.limit is not None and every.used + right >= self.limit:
                right = self.limit - every.used
                stop = int(piece.batch.numbers[right - 1]) + 1
            batches += -(-(in_block + right) // self.size) - -(-in_block // self.size)
            in_block += right
            every.add(replace(piece.tally, used=right))
            if stop is not None:
                break
        check_used(every)
        if isinstance(self.masks, Tensor) and stop is None and len(self.masks) != every.seen:
            raise SurefootError(
                f"masks has {len(self.masks)} rows, but the loader has {every.seen} samples; give "
                "one row for each sample, in the loader's order"
            )
        return Survey(every.seen, stop, batches)

    def _ranges(self, block: int) -> Iterator[range]:
        """The sample numbers of a block, in ranges of at most `size`."""
        end = (block + 1) * self.block
        known = [n for n in (self.data.size, self.stop) if n is not None]
        end = min(end, *known) if known else end
        for start in range(block * self.block, end, self.size):
            yield range(start, min(start + self.size, end))

    def _split(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """Its samples by block; an empty part says that the last one was passed."""
        while len(batch):
            first = int(batch.numbers[0])
            block, left = first // self.block, self.block - first % self.block
            if self.stop is not None:
                left = max(0, min(left, self.stop - first))
            yield block, batch[:left]
            batch = batch[left or len(batch) :]

    def _piece(self, block: int, batch: Batch) -> Piece:
        tally = Tally(seen=len(batch))
        everyone = torch.ones(len(batch), dtype=torch.bool)
        for name, model in self.models.items():
            there = batch.to(device_of(model))
            logits = gradients.predict(model, there.inputs, there.extra)
            _check_labels_in_range(batch.labels, logits)
            right = (logits.argmax(1) == there.labels).cpu()
            tally.correct[name] = int(right.sum())
            everyone &= right
        tally.correct_for_all = tally.used = int(everyone.sum())
        return Piece(block, batch[everyone], tally, _digest(batch))


def check_used(tally: Tally) -> None:
    """Raise unless there are samples that every model gets right."""
    if not tally.seen:
        raise SurefootError("the loader is empty, expected at least one (inputs, labels) batch")
    if not tally.used:
        counts = ", ".join(f"{name!r} gets {right} right" for name, right in tally.correct.items())
        raise SurefootError(
            f"no sample is left to audit: of {tally.seen}, {counts}. Only samples that every model "
            "classifies correctly are taken; look at the labels' order and at the scaling of the "
            "inputs"
        )


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter or buffer is; the CPU if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def joined(parts: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same samples in batches of `size`; where their form changes, a batch ends."""
    held: list[Batch] = []
    for part in parts:
        if held and held[0].form() != part.form():
            yield _join(held)
            held = []
        if len(part):
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


def _check_labels_in_range(labels: Tensor, logits: Tensor) -> None:
    classes = logits.shape[1]
    if ((labels < 0) | (labels >= classes)).any():
        raise SurefootError(
            f"labels span [{int(labels.min())}, {int(labels.max())}], expected class indices in "
            f"[0, {classes - 1}]: the model has {classes} outputs"
        )


def _digest(batch: Batch) -> str:
    """What tells these samples from others."""
    every = hashlib.sha256()
    for value in (batch.inputs, batch.labels, *batch.extra.values(), batch.mask):
        if value is not None:
            every.update(digest(value).encode())
    return every.hexdigest()
