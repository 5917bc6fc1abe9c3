"""The batches of a run, each a function of the seed and the step alone."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from surefoot.errors import SurefootError
from surefoot.train._batch import dropped
from surefoot.train.loop._fetch import Minibatch, fetch
from surefoot.train.loop._plan import Loop
from surefoot.train.loop._seeds import Stream, number, stream
from surefoot.undo import draws_kept


class Batches(Dataset[Minibatch]):
    """One process's share of each step's batch, by step.

    Every pass over the data has an order of its own. Because a batch does not depend on those
    before it, a run resumes in the middle of a pass, with any number of workers. Random transforms
    that draw from the global generators of torch, NumPy or `random` are repeated, too.

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
        with draws_kept(seed=number(self.loop.seed, Stream.TRANSFORMS, batch, self.rank)):
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


class Failure(NamedTuple):
    """Why there is no batch: from a worker, whose exceptions would come with all their traces."""

    message: str


class Told(Dataset[Minibatch | Failure]):
    """Batches, or why there is none."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Minibatch | Failure:
        try:
            return self.batches[step]
        except SurefootError as error:
            return Failure(str(error))


def given(batches: Batches, first: int, last: int, workers: int) -> Iterator[Minibatch]:
    """The batches of steps `first` to `last` - 1.

    Raises:
        SurefootError: a batch cannot be made, or a worker has died.
    """
    # A generator of its own: without one, a loader draws from torch's global one.
    loader = DataLoader(
        Told(batches),
        sampler=range(first, last),
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
    try:
        for one in loader:
            if isinstance(one, Failure):
                raise SurefootError(one.message)
            yield one
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise SurefootError(
            f"the {workers} workers that load data have failed ({reason}); with workers=0 the "
            "error itself comes, and less memory is taken"
        ) from error


def check_data(data: Any, name: str = "the training data") -> None:
    """Raise unless `data` is a map-style data set that holds something."""
    if isinstance(data, DataLoader):
        raise SurefootError(
            f"{name} are a DataLoader, expected the data set in it: the loop makes the batches, so "
            "that it can resume among them"
        )
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if isinstance(data, IterableDataset) or not sized or getattr(data, "ndim", 1) == 0:
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
