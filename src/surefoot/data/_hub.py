"""Data sets of the Hugging Face hub, through their own library."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surefoot.data._labels import numbered
from surefoot.data._photographs import square
from surefoot.data._pictures import Pictures
from surefoot.data._places import Root
from surefoot.data._text import Sentences, sentences
from surefoot.errors import SurefootError, optional

_MODES = {1: "L", 3: "RGB"}


def load_hub(
    name: str,
    split: str,
    root: Root = None,
    *,
    config: str | None = None,
    input: str | None = None,  # noqa: A002 (the caller's word for the column)
    label: str | None = None,
    size: int | None = None,
    channels: int = 3,
    length: int | None = None,
    min_count: int = 1,
) -> Pictures | Sentences:
    """A data set of images or of sentences with one class each, as `datasets` loads it.

    Args:
        name: as `datasets.load_dataset` takes it: a name on the hub, or a local folder.
        split: as the data set calls it.
        root: where `datasets` keeps its files; None is its own cache.
        config: the data set's configuration, where it has several.
        input: the column of images or texts; None takes the only one.
        label: the column of classes; None takes the only one.
        size: side of the square that images are brought to; None takes the first one's shorter
            side.
        channels: 3 or 1, for grey.
        length: tokens of a sentence; None takes the longest training sentence's.
        min_count: words that come less often in training are unknown.

    Raises:
        SurefootError: it cannot be loaded, or the columns are not found.
        MissingExtraError: `datasets` is not installed.
    """
    found = _loaded(name, config, split, root)
    for column in filter(None, (input, label)):
        _check_column(found, column)
    target = label or _only(found, "ClassLabel", name, "label")
    classes = _classes(found, target)
    if input is None and (images := _columns(found, "Image")):
        input = images[0]  # noqa: A001
    source = f"hf:{name}/{split}"
    if input in _columns(found, "Image"):
        first = found[0][input]
        read = ReadRow(found, str(input), target, size or min(first.size), channels)
        return Pictures(read, range(len(found)), classes, name=source)
    text = input or _only(found, "string", name, "input")
    training = found if split == "train" else _loaded(name, config, "train", root)
    return sentences(
        list(found[text]),
        torch.tensor(list(found[target])),
        classes,
        list(training[text]),
        length=length,
        min_count=min_count,
        name=source,
    )


@dataclass(frozen=True)
class ReadRow:
    """Reads one row of a data set of images."""

    rows: Any
    input: str
    label: str
    size: int
    channels: int = 3

    def __call__(self, number: int) -> tuple[Tensor, int]:
        """Pixels (channels, size, size) uint8 and the class."""
        row = self.rows[number]
        return square(row[self.input].convert(_MODES[self.channels]), self.size), row[self.label]


def _loaded(name: str, config: str | None, split: str, root: Root) -> Any:
    datasets = optional("datasets", "datasets")
    cache = None if root is None else str(root)
    try:
        return datasets.load_dataset(name, config, split=split, cache_dir=cache)
    except Exception as error:  # the network, the hub and scripts fail in many ways
        raise SurefootError(
            f"datasets could not load {name} ({split}): {type(error).__name__}: {error}"
        ) from error


def _columns(rows: Any, kind: str) -> list[str]:
    """The columns of a kind: "Image", "ClassLabel", or the type of plain values."""
    features = rows.features.items()
    return [n for n, f in features if kind in (type(f).__name__, getattr(f, "dtype", None))]


def _only(rows: Any, kind: str, name: str, setting: str) -> str:
    found = _columns(rows, kind)
    if len(found) != 1:
        raise SurefootError(
            f"hf:{name} has {len(found)} columns of {kind} among {list(rows.features)}; name the "
            f"right one with {setting}="
        )
    return found[0]


def _check_column(rows: Any, column: str) -> None:
    if column not in rows.features:
        raise SurefootError(f"{column!r} is not among the columns {list(rows.features)}")


def _classes(rows: Any, label: str) -> tuple[str, ...]:
    names = getattr(rows.features[label], "names", None)
    if names:
        return tuple(names)
    values = sorted(set(rows[label]))
    if not all(isinstance(value, int) for value in values) or values[0] < 0:
        raise SurefootError(f"label={label!r} holds {values[:3]}, expected classes, 0 and up")
    return numbered(values, f"hf: the column {label}")
