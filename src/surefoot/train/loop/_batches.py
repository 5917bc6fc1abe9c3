"""The batches of a run, each a function of the seed and the step alone."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from surefoot.data import Pictures, Samples
from surefoot.errors import SurefootError
from surefoot.train._batch import dropped
from surefoot.train.loop._plan import Loop
from surefoot.train.loop._seeds import Stream, number, stream


class Minibatch(NamedTuple):
    """What one process gets in one step."""

    inputs: Tensor
    labels: Tensor
    extra: Mapping[str, Tensor]

    def pieces(self, count: int) -> list["Minibatch"]:
        """The batch in so many equal pieces."""
        size = len(self.inputs) // count
        parts = [slice(start, start + size) for start in range(0, size * count, size)]
        return [
            Minibatch(
                self.inputs[part],
                self.labels[part],
                {name: value[part] for name, value in self.extra.items()},
            )
            for part in parts
        ]


class Batches(Dataset[Minibatch]):
    """One process's share of each step's batch, by step.

    Every pass over the data has an order of its own. Because a batch does not depend on those
    before it, a run resumes in the middle of a pass, with any number of workers. Random transforms
    that draw from torch's global generator are repeated, too.

    Args:
        data: maps an index to (input, label) or (input, label, extra), extra a dict of tensors.
        loop: the seed, the batch, the replays.
        rank: number of this process.
        processes: how many there are.
    """

    def __init__(self, data: Any, loop: Loop, rank: int = 0, processes: int = 1) -> None:
        self.data, self.loop, self.rank, self.processes = data, loop, rank, processes
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def __getitem__(self, step: int) -> Minibatch:
        batch = step // self.loop.replays
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number(self.loop.seed, Stream.TRANSFORMS, batch, self.rank))
            return fetch(self.data, self._numbers(batch))

    def _numbers(self, batch: int) -> Tensor:
        size = self.loop.batch
        epoch, place = divmod(batch, len(self.data) // size)
        if epoch != self._epoch:
            generator = stream(self.loop.seed, Stream.ORDER, epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.data), generator=generator)
        share = size // self.processes
        first = place * size + self.rank * share
        return self._order[first : first + share]


def fetch(data: Any, numbers: Tensor) -> Minibatch:
    """The samples of those numbers as one batch.

    Raises:
        SurefootError: a sample is not (input, label) or (input, label, extra).
    """
    if isinstance(data, Samples | Pictures):
        parts: Any = data[numbers]
    elif hasattr(data, "__getitems__"):
        parts = default_collate(data.__getitems__(numbers.tolist()))
    else:
        parts = default_collate([data[index] for index in numbers.tolist()])
    if not isinstance(parts, tuple | list) or len(parts) not in (2, 3):
        raise SurefootError(
            f"a sample of the data is a {type(parts).__name__}, expected (input, label) or "
            "(input, label, extra)"
        )
    inputs, labels, *rest = parts
    return Minibatch(inputs, torch.as_tensor(labels), rest[0] if rest else {})


class Without(Dataset[Any]):
    """Samples without some entries of their `extra`, those that are none of the model's."""

    def __init__(self, data: Any, names: Collection[str]) -> None:
        self.data, self.names = data, names

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        sample = self.data[index]
        if not isinstance(sample, tuple | list) or len(sample) != 3:
            return sample
        return (*sample[:2], dropped(sample[2], self.names))


def loader(batches: Batches, first: int, last: int, workers: int) -> DataLoader[Minibatch]:
    """What yields the batches of steps `first` to `last` - 1."""
    # A generator of its own: without one, a loader draws from torch's global one.
    return DataLoader(
        batches,
        sampler=range(first, last),
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )


def check_data(data: Any, name: str = "the training data") -> None:
    """Raise unless `data` is a map-style data set that holds something."""
    if isinstance(data, DataLoader):
        raise SurefootError(
            f"{name} are a DataLoader, expected the data set in it: the loop makes the batches, so "
            "that it can resume among them"
        )
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if isinstance(data, IterableDataset) or not sized:
        raise SurefootError(
            f"{name} are a {type(data).__name__}, expected a map-style data set of (input, label), "
            "with len() and indexing, such as surefoot.data.load gives"
        )
    if not len(data):
        raise SurefootError(f"{name} are empty; look at where they come from")


def spread(data: Any, count: int | None) -> Tensor:
    """`count` numbers spread evenly over the data, or all."""
    size = len(data)
    if count is None or count >= size:
        return torch.arange(size)
    return torch.arange(count) * size // count
