"""The reference networks by name: architectures alone, with weights still to be learnt."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from surefoot.errors import SurefootError, suggest
from surefoot.models._rar import RARCNN
from surefoot.models._resnet import resnet18

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "rar-cnn": RARCNN,
    "resnet18-small": resnet18,
}


def names() -> list[str]:
    """The reference networks that `build` and `load` know.

    >>> "rar-cnn" in names()
    True
    """
    return sorted(NETWORKS)


def build(name: str, *, seed: int | None = None, **settings: Any) -> nn.Module:
    """A new, untrained reference network, in training mode.

    Args:
        name: one of `names()`.
        seed: the weights depend on it alone; None draws them from torch's global generator.
        settings: the network's own, such as `classes`, `channels` and `size`.

    Raises:
        SurefootError: an unknown name or setting.

    >>> build("rar-cnn", seed=0, classes=3)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 3])
    """
    if name not in NETWORKS:
        raise SurefootError(f"network {name!r} is unknown; {suggest(name, NETWORKS)}")
    make = NETWORKS[name]
    known = list(inspect.signature(make).parameters)
    for setting in settings:
        if setting not in known:
            raise SurefootError(f"{name} has no setting {setting!r}; {suggest(setting, known)}")
    if seed is None:
        return make(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(**settings)
