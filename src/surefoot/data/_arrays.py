"""Data sets in a NumPy archive."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.data._places import Root, data_root, within
from surefoot.data._samples import Samples
from surefoot.data._splits import check_split, hold_out
from surefoot.errors import SurefootError


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
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names if name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SurefootError(f"cannot read {file}: {error}") from error


def _samples(content: Mapping[str, Any], names: tuple[str, str], source: str) -> Samples:
    inputs, labels = (content[name] for name in names)
    if not np.issubdtype(labels.dtype, np.integer):
        raise SurefootError(f"{source} has labels of {labels.dtype}, expected integers from 0 on")
    numbers = torch.from_numpy(labels.astype(np.int64)).reshape(-1)
    # Of all labels in the file, so that its splits have the same classes.
    highest = max(int(found.max()) for name, found in content.items() if name[0] == "y")
    classes = content.get("classes", range(highest + 1))
    return Samples(_inputs(inputs, source), numbers, tuple(map(str, classes)), name=source)


def _inputs(array: Any, source: str) -> Tensor:
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        pixels = torch.from_numpy(array)
        return pixels[:, None] if array.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    records = np.issubdtype(array.dtype, np.floating) and array.ndim == 2
    if records and array.min() >= 0 and array.max() <= 1:
        return torch.from_numpy(array.astype(np.float32))
    raise SurefootError(
        f"{source} has inputs {array.dtype} {array.shape}, expected uint8 images (N, H, W) or "
        "(N, H, W, C), or floats (N, F) in [0, 1]"
    )
