"""Data sets by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from surefoot.data._digits import load_digits
from surefoot.data._samples import Samples
from surefoot.errors import SurefootError, suggest

SPLITS = ("train", "test")

_LOADERS: dict[str, Callable[..., Samples]] = {
    name: partial(load_digits, name) for name in ("fashion-mnist", "mnist")
}


def names() -> list[str]:
    """The data sets that `load` knows.

    >>> "fashion-mnist" in names()
    True
    """
    return sorted(_LOADERS)


def load(
    name: str, split: str = "train", root: str | Path | None = None, *, download: bool = False
) -> Samples:
    """The data set of that name.

    Args:
        name: one of `names()`.
        split: "train" or "test".
        root: the folder that holds data sets; None takes what the environment variable
            SUREFOOT_DATA names, else surefoot/data in the user's cache.
        download: fetch it into the root first, where there is a network.

    Raises:
        SurefootError: an unknown name or split, or files that are missing (the message says how
            to get them) or damaged.
    """
    if name not in _LOADERS:
        raise SurefootError(f"data set {name!r} is unknown; {suggest(name, _LOADERS)}")
    if split not in SPLITS:
        raise SurefootError(f"split={split!r}, expected one of {list(SPLITS)}")
    return _LOADERS[name](split, root, download=download)
