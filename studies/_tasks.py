"""The data sets of the training studies with their networks: the narrow tier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn import datasets

from surefoot import data
from surefoot.data import Samples

NARROW = {"widths": (8, 16), "hidden": 128}


@dataclass(frozen=True)
class Task:
    """A data set, its network, and the ball in which both are attacked.

    Attributes:
        name: of the data set here.
        load: the samples of a split, "train" or "test"; called when they are needed.
        network: of `models.names()`.
        options: of it.
        epsilon: radius of the L-infinity ball.
        k: of the top of a map.
    """

    name: str
    load: Callable[[str], Samples]
    network: str
    options: Mapping[str, Any]
    epsilon: float
    k: int = 100


def tasks(root: Path | None) -> list[Task]:
    """Those of the full size; colorectal tissue and GTSRB as `x_train`, ... in one .npz each."""
    return [
        _task("fashion-mnist", "fashion-mnist", root, 0.1),
        _task("mnist", "mnist", root, 0.3),
        _task("gtsrb", "arrays:gtsrb32.npz", root, 8 / 255, channels=3, size=32),
        _task("colorectal", "arrays:colorectal48.npz", root, 8 / 255, channels=3, size=48),
    ]


def smoke() -> Task:
    """Digits of 8 x 8 pixels, which come with scikit-learn."""
    return Task("digits", _digits, "rar-cnn", {**NARROW, "size": 8}, 0.1, k=10)


def _task(name: str, source: str, root: Path | None, epsilon: float, **options: Any) -> Task:
    return Task(name, partial(_load, source, root), "rar-cnn", {**NARROW, **options}, epsilon)


def _load(source: str, root: Path | None, split: str) -> Samples:
    return data.load(source, split, root=root).samples()


def _digits(split: str) -> Samples:
    found = datasets.load_digits()
    pixels = torch.from_numpy(found.images / 16).float()[:, None]
    names = tuple(str(digit) for digit in range(10))
    whole = Samples(pixels, torch.from_numpy(found.target), names, name=f"digits/{split}")
    return whole.take(slice(1400) if split == "train" else slice(1400, None))
