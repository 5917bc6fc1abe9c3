"""Data by sample number: whatever a loader is, as batches that start at a known sample."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import data as torch_data

from surefoot.errors import SurefootError


class Data(Protocol):
    """Samples in the order of their numbers."""

    @property
    def size(self) -> int | None:
        """Their number; None where it is not known before they were walked."""

    @property
    def once(self) -> bool:
        """Whether they can be walked a single time only."""

    @property
    def apart(self) -> bool:
        """Whether some of them can be read without those before."""

    @property
    def shuffled(self) -> bool:
        """Whether the loader that was given has another order, drawn at random."""

    def walk(self, wanted: Iterable[range]) -> Iterator[tuple[int, Any]]:
        """Batches as they came, each with the number of its first sample.

        Where samples can be read apart, one for each range; else all.
        """


@dataclass(frozen=True, eq=False)
class Pair:
    """One batch of tensors: (inputs, labels), or with extra."""

    given: Sequence[Any]
    once = False
    apart = True
    shuffled = False

    @property
    def size(self) -> int:
        first = self.given[0]
        return len(first) if getattr(first, "ndim", 1) else 0

    def walk(self, wanted: Iterable[range]) -> Iterator[tuple[int, Any]]:
        if not self.size or not hasattr(self.given[1], "__getitem__"):
            yield 0, self.given  # to be refused by whoever reads it
            return
        inputs, labels, *rest = self.given
        whole = all(len(one) == self.size for one in (labels, *_entries(rest)))
        for part in wanted if whole else [range(self.size)]:
            which = slice(part.start, part.stop)
            extra = [{name: v[which] for name, v in one.items()} for one in rest] if whole else rest
            rows = labels.iloc if hasattr(labels, "iloc") else labels
            yield (part.start, [inputs[which], rows[which] if whole else labels, *extra])


@dataclass(frozen=True, eq=False)
class Indexed:
    """A data set whose samples have numbers, as a DataLoader holds it.

    It is read in its own order, so that sample numbers are the data set's, also where the loader
    shuffles.
    """

    dataset: Any
    collate: Callable[[list[Any]], Any]
    workers: int = 0
    shuffled: bool = False
    once = False
    apart = True

    @property
    def size(self) -> int:
        return len(self.dataset)

    def walk(self, wanted: Iterable[range]) -> Iterator[tuple[int, Any]]:
        parts = list(wanted)
        loader = torch_data.DataLoader(
            self.dataset,
            batch_sampler=parts,  # type: ignore[arg-type]
            collate_fn=self.collate,
            num_workers=min(self.workers, len(parts)),
            generator=torch.Generator(),  # the global state is left alone
        )
        read = iter(loader)
        for part in parts:
            try:
                given = next(read)
            except SurefootError:
                raise
            except Exception as error:  # the data set is the user's and may raise anything
                reason = str(error).strip().splitlines()[-1:] or [""]
                raise SurefootError(
                    f"samples {part.start} to {part.stop - 1} cannot be read "
                    f"({type(error).__name__}: {reason[0]})"
                ) from error
            yield part.start, given


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches in the order in which they come."""

    given: Iterable[Any]
    shuffled: bool = False
    size: None = None

    @property
    def once(self) -> bool:
        return isinstance(self.given, Iterator)

    @property
    def apart(self) -> bool:
        """Walking a list costs nothing."""
        return isinstance(self.given, Sequence)

    def walk(self, wanted: Iterable[range]) -> Iterator[tuple[int, Any]]:  # noqa: ARG002
        first = 0
        for given in self.given:
            yield first, given
            first += len(given[0]) if isinstance(given, list | tuple) and given else 0


def opened(loader: Any) -> Data:
    """What a loader holds, by sample number.

    Raises:
        SurefootError: it is nothing that gives batches.
    """
    pair = isinstance(loader, list | tuple) and len(loader) in (2, 3)
    if pair and isinstance(loader[0], Tensor):
        return Pair(loader)
    if isinstance(loader, torch_data.DataLoader):
        shuffled = not isinstance(loader.sampler, torch_data.SequentialSampler) and not isinstance(
            loader.dataset, torch_data.IterableDataset
        )
        if _numbered(loader):
            return Indexed(loader.dataset, loader.collate_fn, loader.num_workers, shuffled)
        return Stream(loader, shuffled)
    if isinstance(loader, Tensor | dict | str) or not isinstance(loader, Iterable):
        raise SurefootError(
            f"the loader is a {type(loader).__name__}, expected an iterable of (inputs, labels) "
            "batches such as a DataLoader, or one such pair"
        )
    if hasattr(loader, "columns"):
        raise SurefootError(
            f"the loader is a {type(loader).__name__}, a table; give its columns as tensors: "
            "(torch.tensor(table[features].to_numpy()).float(), table[label])"
        )
    return Stream(loader)


def _numbered(loader: "torch_data.DataLoader[Any]") -> bool:
    """Whether the loader takes every sample of a data set with numbers exactly once."""
    sampler = loader.sampler
    whole = isinstance(sampler, torch_data.SequentialSampler) or (
        isinstance(sampler, torch_data.RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == len(sampler.data_source)
    )
    plain = type(loader.batch_sampler) is torch_data.BatchSampler and not loader.drop_last
    return whole and plain and not isinstance(loader.dataset, torch_data.IterableDataset)


def _entries(rest: Sequence[Any]) -> list[Any]:
    """What stands in the mapping of further inputs, if it is one."""
    return list(rest[0].values()) if rest and hasattr(rest[0], "values") else list(rest)


def names_of(data: Data) -> Sequence[str] | None:
    """Names of the samples, where the data set knows them: file names, mostly."""
    return _names(data.dataset) if isinstance(data, Indexed) else None


def classes_of(data: Data) -> list[str] | None:
    """Names of the classes, where the data set knows them."""
    found = getattr(getattr(data, "dataset", None), "classes", None)
    return None if found is None else [str(one) for one in found]


def _names(dataset: Any) -> Sequence[str] | None:
    if isinstance(dataset, torch_data.Subset):
        inner = _names(dataset.dataset)
        return None if inner is None else [inner[number] for number in dataset.indices]
    paths = getattr(getattr(dataset, "read", None), "paths", None)  # surefoot.data.Pictures
    if paths is not None:
        return [Path(paths[number]).name for number in dataset.numbers]
    if hasattr(dataset, "names"):
        return [str(name) for name in dataset.names]
    files = getattr(dataset, "imgs", None)  # torchvision's folders
    return None if files is None else [Path(path).name for path, _ in files]
