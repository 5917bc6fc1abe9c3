"""Data sets by name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from surefoot.data._arrays import load_arrays
from surefoot.data._cifar import load_cifar10
from surefoot.data._digits import load_digits
from surefoot.data._flowers import load_flowers17
from surefoot.data._folders import load_folder, load_imagenet
from surefoot.data._hub import load_hub
from surefoot.data._pcam import load_pcam
from surefoot.data._pictures import Pictures
from surefoot.data._places import Root
from surefoot.data._polarity import load_reviews
from surefoot.data._records import load_nsl_kdd
from surefoot.data._samples import Samples
from surefoot.data._torchvision import load_torchvision
from surefoot.errors import SurefootError, suggest

Load = Callable[..., Samples | Pictures]

_NAMED: dict[str, Load] = {
    "cifar10": load_cifar10,
    "fashion-mnist": partial(load_digits, "fashion-mnist"),
    "flowers102": partial(load_torchvision, "Flowers102", size=128),
    "flowers17": load_flowers17,
    "gtsrb": partial(load_torchvision, "GTSRB", size=32),
    "imagenet": load_imagenet,
    "mnist": partial(load_digits, "mnist"),
    "nsl-kdd": load_nsl_kdd,
    "pcam": load_pcam,
    "sentence-polarity": partial(load_reviews, "sentence-polarity"),
    "vader-movies": partial(load_reviews, "vader-movies"),
}
_SOURCES: dict[str, tuple[str, Callable[..., Samples | Pictures]]] = {
    "arrays": ("FILE.npz", load_arrays),
    "folder": ("PATH", load_folder),
    "hf": ("NAME", load_hub),
    "torchvision": ("NAME", load_torchvision),
}


def names() -> list[str]:
    """What `load` knows: data sets, and ways to name one's own.

    >>> names()[:3], names()[-1]
    (['cifar10', 'fashion-mnist', 'flowers102'], 'torchvision:NAME')
    """
    return [*_NAMED, *(f"{source}:{rest}" for source, (rest, _) in _SOURCES.items())]


def load(name: str, split: str = "train", root: Root = None, **options: Any) -> Samples | Pictures:
    """The data set of that name: in memory, or read as asked for where it is large.

    Args:
        name: one of `names()`: a data set, or "folder:PATH" (one folder of pictures a class),
            "arrays:FILE.npz", "hf:NAME" (Hugging Face `datasets`), "torchvision:NAME".
        split: "train" or "test"; some have "validation".
        root: the folder that holds data sets; None takes what the environment variable
            SUREFOOT_DATA names, else surefoot/data in the user's cache.
        options: the data set's own, such as `size`, `labels` or `fold`; `download=True` fetches
            it into the root first, where that is possible.

    Raises:
        SurefootError: an unknown name, split or option, or files that are missing (the message
            says how to get them) or damaged.
        MissingExtraError: the package that reads it is not installed.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/mine.npz", x=np.zeros((6, 4, 4), np.uint8), y=np.arange(6) % 2)
    ...     found = load(f"arrays:{folder}/mine.npz", split="all")
    >>> len(found), found[0][0].shape
    (6, torch.Size([1, 4, 4]))
    """
    found = _found(name)
    known = [n for n, p in inspect.signature(found).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            hint = suggest(option, known) if known else "it has none"
            raise SurefootError(f"data set {name} has no option {option!r}; {hint}")
    return found(split, root, **options)


def _found(name: str) -> Load:
    if not isinstance(name, str):
        raise SurefootError(f"name is a {type(name).__name__}, expected one of {names()}")
    source, _, rest = name.partition(":")
    if rest and source in _SOURCES:
        return partial(_SOURCES[source][1], rest)
    if name in _NAMED:
        return _NAMED[name]
    raise SurefootError(f"data set {name!r} is unknown; {suggest(name, names())}")
