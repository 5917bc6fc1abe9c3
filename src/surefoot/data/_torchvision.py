"""torchvision's data sets, and downloads through it."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from surefoot.data._labels import numbered
from surefoot.data._photographs import square
from surefoot.data._pictures import Pictures
from surefoot.data._places import VARIABLE, Root, data_root
from surefoot.data._splits import check_split
from surefoot.errors import SurefootError, optional, suggest

_MODES = {1: "L", 3: "RGB"}
_VALIDATION = {"validation": "val"}


def load_torchvision(
    name: str,
    split: str,
    root: Root = None,
    *,
    download: bool = False,
    size: int | None = None,
    channels: int = 3,
) -> Pictures:
    """A torchvision data set of (image, class), such as "SVHN" or "Flowers102".

    Args:
        name: the class in `torchvision.datasets`.
        split: "train" or "test", or "validation" where there is one.
        root: the folder given to that class.
        download: let torchvision download it.
        size: side of the square that images are brought to; None takes the first one's shorter
            side.
        channels: 3 or 1, for grey.

    Raises:
        SurefootError: no such data set or split, or its files are missing.
        MissingExtraError: torchvision is not installed.
    """
    dataset = _made(name, split, data_root(root), download)
    read = ReadItem(dataset, size or min(dataset[0][0].size), channels)
    return Pictures(read, range(len(dataset)), _classes(dataset), name=f"{name}/{split}")


@dataclass(frozen=True)
class ReadItem:
    """Reads one (Pillow image, class) of a data set."""

    dataset: Any
    size: int
    channels: int = 3

    def __call__(self, number: int) -> tuple[Tensor, int]:
        """Pixels (channels, size, size) uint8 and the class."""
        image, label = self.dataset[number]
        return square(image.convert(_MODES[self.channels]), self.size), int(label)


def fetch(name: str, root: Root) -> None:
    """Download a torchvision data set into the data root."""
    datasets = package().datasets
    base = data_root(root)
    try:
        base.mkdir(parents=True, exist_ok=True)
        getattr(datasets, name)(base, download=True)
    except (OSError, RuntimeError) as error:
        raise SurefootError(f"{name} could not be downloaded into {base}: {error}") from error


def package() -> ModuleType:
    """torchvision, or why it cannot be used."""
    try:
        optional("torchvision.datasets", "torchvision")
        return optional("torchvision", "torchvision")
    except RuntimeError as error:
        raise SurefootError(
            f"torchvision is installed but does not import ({error}); it must be built for the "
            "torch that is installed"
        ) from error


def _made(name: str, split: str, root: Path, download: bool) -> Any:
    datasets = package().datasets
    known = [k for k in datasets.__all__ if isinstance(getattr(datasets, k), type)]
    if name not in known:
        raise SurefootError(f"torchvision has no data set {name!r}; {suggest(name, known)}")
    check_split(split, ("train", "validation", "test"), f"torchvision:{name}")
    make = getattr(datasets, name)
    try:
        try:
            return make(root, split=_VALIDATION.get(split, split), download=download)
        except TypeError:  # those of the MNIST and CIFAR families say train=True
            check_split(split, ("train", "test"), f"torchvision:{name}")
            return make(root, train=split == "train", download=download)
    except SurefootError:
        raise
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise SurefootError(
            f"torchvision could not open {name} ({split}) in {root}: {error}; pass download=True, "
            f"or root=FOLDER, or set {VARIABLE}=FOLDER"
        ) from error


def _classes(dataset: Any) -> tuple[str, ...]:
    if getattr(dataset, "classes", None):
        return tuple(map(str, dataset.classes))
    labels = next(
        (getattr(dataset, n) for n in ("labels", "targets", "_labels") if hasattr(dataset, n)), None
    )
    if labels is None:
        labels = [int(dataset[number][1]) for number in range(len(dataset))]
    return numbered(map(int, labels), type(dataset).__name__)
