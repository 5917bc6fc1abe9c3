"""CIFAR-10, from the archive for Python that its makers publish."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.data._places import Root, data_root, missing
from surefoot.data._samples import Samples
from surefoot.data._splits import check_split
from surefoot.data._torchvision import fetch
from surefoot.errors import SurefootError

FOLDER = "cifar-10-batches-py"
_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_WAYS = (
    "pass download=True, where there is a network (extra torchvision)",
    f"unpack cifar-10-python.tar.gz, which makes the folder {FOLDER}, in the data root",
)


def load_cifar10(split: str, root: Root = None, *, download: bool = False) -> Samples:
    """CIFAR-10, (N, 3, 32, 32) in bytes: 50,000 to train and 10,000 to test.

    Read from ROOT/cifar-10-batches-py, as torchvision lays it out, or from ROOT itself.

    Raises:
        SurefootError: the files are not there, damaged, or hold more than arrays.
    """
    check_split(split, tuple(_FILES), "cifar10")
    if download:
        fetch("CIFAR10", root)
    base = data_root(root)
    folders = [base / FOLDER, base]
    folder = next((f for f in folders if all((f / n).is_file() for n in _FILES[split])), None)
    if folder is None:
        raise missing("cifar10", root, _FILES[split], folders, _WAYS)
    batches = [_read(folder / name) for name in _FILES[split]]
    pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Samples(pixels, labels, tuple(_CLASSES.split()), name=f"cifar10/{split}")


def _read(path: Path) -> tuple[Tensor, Tensor]:
    try:
        content = _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        pixels = torch.from_numpy(np.array(content["data"], np.uint8)).view(-1, 3, 32, 32)
        return pixels, torch.tensor(content["labels"], dtype=torch.int64)
    except SurefootError:
        raise
    except Exception as error:  # a damaged pickle fails in many ways
        raise SurefootError(
            f"{path} is no batch of CIFAR-10, or is damaged ({type(error).__name__}: {error}); "
            "fetch it again"
        ) from error


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists, numbers and text; anything else could be somebody's code."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the constructors that NumPy arrays are pickled with."""
        known = {"ndarray": _ARRAY, "dtype": np.dtype, "_reconstruct": _empty}
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise SurefootError(
            f"the batch holds {module}.{name}, which CIFAR-10 does not: loading it would run code "
            "of whoever made it, so it is refused"
        )


_ARRAY = object()


def _empty(_kind: object, shape: tuple[int, ...], _code: object) -> Any:
    """What a pickled array begins with; a real one is filled later, with bytes that are there."""
    if tuple(shape) != (0,):
        raise SurefootError(f"the batch makes an array {shape} out of nothing; it is damaged")
    return np.empty(0, np.uint8)
