"""MNIST and the data sets of its format, IDX: a short header, then bytes."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from surefoot.data._places import Root, data_root, first_file, missing
from surefoot.data._samples import Samples
from surefoot.data._splits import check_split
from surefoot.data._torchvision import fetch
from surefoot.errors import SurefootError
from surefoot.files import gunzip, read_bytes

_FILES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 8
_CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


@dataclass(frozen=True)
class Digits:
    """A data set of this format: its folder in torchvision, its classes, Debian's package."""

    folder: str
    classes: tuple[str, ...]
    package: str | None = None
    installed: Path | None = None


KNOWN = {
    "fashion-mnist": Digits(
        "FashionMNIST",
        tuple(_CLOTHES.split(",")),
        "dataset-fashion-mnist",
        Path("/usr/share/datasets/fashion-mnist"),
    ),
    "mnist": Digits("MNIST", tuple("0123456789")),
}


def load_digits(name: str, split: str, root: Root = None, *, download: bool = False) -> Samples:
    """MNIST or Fashion-MNIST, (N, 1, 28, 28) in bytes: 60,000 to train and 10,000 to test.

    Read from ROOT/MNIST/raw or ROOT/FashionMNIST/raw, as torchvision lays them out, or from ROOT
    itself, gzipped or not; Fashion-MNIST also from where Debian's package puts it.

    Raises:
        SurefootError: the files are not there, or damaged.
    """
    about = KNOWN[name]
    check_split(split, tuple(_FILES), name)
    if download:
        fetch(about.folder, root)
    images, labels = (_find(name, split, kind, root) for kind in ("images-idx3", "labels-idx1"))
    pixels, numbers = read_idx(images), read_idx(labels).long()
    if pixels.ndim != 3 or numbers.ndim != 1:
        raise SurefootError(
            f"{images} and {labels} have shapes {tuple(pixels.shape)} and {tuple(numbers.shape)}, "
            "expected images (N, H, W) and labels (N,)"
        )
    return Samples(pixels[:, None], numbers, about.classes, name=f"{name}/{split}")


def read_idx(path: Path) -> Tensor:
    """The array of bytes in an IDX file, gzipped or not.

    The header is two zeros, the type (8 is uint8), the number of dimensions, and each of them as
    a big-endian 32-bit integer.

    Raises:
        SurefootError: it cannot be read, is not IDX, or is shorter or longer than it says.
    """
    content = _content(path)
    if len(content) < 4 or content[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise SurefootError(f"{path} is not an IDX file of bytes: it starts with {content[:4]!r}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise SurefootError(f"{path} is damaged: it ends within its header; fetch it again")
    shape = np.frombuffer(content[4:start], ">i4").tolist()
    if len(content) - start != math.prod(shape):
        raise SurefootError(
            f"{path} is damaged: it says {' x '.join(map(str, shape))} and holds "
            f"{len(content) - start} bytes; fetch it again"
        )
    numbers = np.frombuffer(content[start:], np.uint8).copy()
    return torch.from_numpy(numbers).reshape(shape)


def _content(path: Path) -> bytes:
    return gunzip(read_bytes(path), path)


def _find(name: str, split: str, kind: str, root: Root) -> Path:
    base, about = data_root(root), KNOWN[name]
    folders = [base / about.folder / "raw", base / about.folder, base / name, base]
    if root is None and about.installed:
        folders.append(about.installed)
    file = f"{_FILES[split]}-{kind}-ubyte"
    spellings = [before + file + after for before in ("", f"{name}-") for after in ("", ".gz")]
    found = first_file(folders, spellings)
    if found is None:
        raise missing(name, root, [f"{file}(.gz)"], folders, _ways(about))
    return found


def _ways(about: Digits) -> list[str]:
    ways = ["pass download=True, where there is a network (extra torchvision)"]
    return ways + [f"on Debian and Ubuntu: apt install {about.package}"] * bool(about.package)
