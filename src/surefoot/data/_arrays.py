"""Data sets in a NumPy archive."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.data._labels import numbered
from surefoot.data._places import Root, data_root, within
from surefoot.data._samples import Samples
from surefoot.data._splits import check_split, hold_out
from surefoot.errors import SurefootError
from surefoot.files import check_archive


def load_arrays(
    path: str, split: str, root: Root = None, *, held_out: float | None = None
) -> Samples:
    """The data set in FILE.npz: x_train, y_train, x_test, y_test, and if known `classes`.

    Images are uint8, (N, H, W) or (N, H, W, C); records are floats (N, F) in [0, 1]. This is how
    Keras keeps its data sets.

    Args:
        path: the file, or one in the data root.
        split: "train" or "test"; "all" for a file with x and y alone.
        root: the data root.
        held_out: for a file with x and y alone: how many samples of each class are for the test,
            a share if below 1; the draw is always the same.

    Raises:
        SurefootError: no such file, a damaged one, or one without those arrays.
    """
    file = within(path, root)
    if not file.is_file():
        raise SurefootError(f"there is no file {path}, neither here nor in {data_root(root)}")
    whole = split == "all" or held_out is not None
    if not whole:
        check_split(split, ("train", "test"), path)
    names = ("x", "y") if whole else (f"x_{split}", f"y_{split}")
    content = _content(file, (*names, "classes", "y_train", "y_test"))
    if not set(names) <= set(content):
        raise SurefootError(
            f"{file} has no arrays {' and '.join(names)}, expected x_train, y_train, x_test and "
            'y_test; or x and y, read with split="all" or held_out=0.2'
        )
    samples = _samples(content, names, f"{file.name}/{split}")
    return samples if held_out is None else samples.take(hold_out(samples.labels, held_out, split))


def _content(file: Path, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            check_archive(archive, file)
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            return {name: _array(archive, name, file) for name in names if name in there}
    except SurefootError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise SurefootError(f"cannot read {file}: {error}") from error


def _array(archive: zipfile.ZipFile, name: str, file: Path) -> Any:
    """One array, its header held against the bytes that there are before any is made."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as content:
        version = np.lib.format.read_magic(content)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(content)
        if dtype.hasobject:
            raise SurefootError(
                f"cannot read {file}: {name} holds Python objects, which would run code as they "
                "are read, and allow_pickle is off; save numbers"
            )
        asked = math.prod(shape) * dtype.itemsize
        if asked + content.tell() != entry.file_size:
            raise SurefootError(
                f"cannot read {file}: {name} says {dtype} {shape}, {asked} bytes, and has "
                f"{entry.file_size - content.tell()}"
            )
    with archive.open(entry) as content:
        return np.lib.format.read_array(content, allow_pickle=False)


def _samples(content: Mapping[str, Any], names: tuple[str, str], source: str) -> Samples:
    inputs, labels = (content[name] for name in names)
    if not np.issubdtype(labels.dtype, np.integer):
        raise SurefootError(f"{source} has labels of {labels.dtype}, expected integers from 0 on")
    numbers = torch.from_numpy(labels.astype(np.int64)).reshape(-1)
    if "classes" in content:
        classes = tuple(map(str, np.atleast_1d(content["classes"])))
    else:  # of all labels in the file, so that its splits have the same classes
        every = [one for name, one in content.items() if name[0] == "y" and one.size]
        classes = numbered((int(found.max()) for found in every), source)
    return Samples(_inputs(inputs, source), numbers, classes, name=source)


def _inputs(array: Any, source: str) -> Tensor:
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        pixels = torch.from_numpy(array)
        return pixels[:, None] if array.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    records = np.issubdtype(array.dtype, np.floating) and array.ndim == 2 and array.size
    if records and array.min() >= 0 and array.max() <= 1:
        return torch.from_numpy(array.astype(np.float32))
    raise SurefootError(
        f"{source} has inputs {array.dtype} {array.shape}, expected uint8 images (N, H, W) or "
        "(N, H, W, C), or floats (N, F) in [0, 1]"
    )
