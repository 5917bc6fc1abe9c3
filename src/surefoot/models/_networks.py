"""The reference networks by name: architectures alone, with weights still to be learnt."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from surefoot.errors import SurefootError, suggest
from surefoot.models import _resnet, _vgg, _zoo
from surefoot.models._classifier import Classifier
from surefoot.models._rar import RARCNN, RARResNet
from surefoot.models._small import MLP, SGTCNN
from surefoot.models._text import TextCNN


@dataclass(frozen=True)
class Network:
    """How a network is made.

    Attributes:
        make: the class or function.
        size: side of the square images that it is meant for.
        embedding: the submodule that embeds its tokens.
    """

    make: Callable[..., nn.Module]
    size: int | None = None
    embedding: str | None = None


NETWORKS = {
    "mlp": Network(MLP),
    "rar-cnn": Network(RARCNN, 28),
    "rar-resnet": Network(RARResNet, 32),
    "resnet18-small": Network(_resnet.resnet18, 32),
    "resnet20": Network(_resnet.resnet20, 32),
    "resnet56": Network(_resnet.resnet56, 32),
    "sgt-cnn": Network(SGTCNN, 28),
    "text-cnn": Network(TextCNN, embedding="embedding"),
    "vgg11-small": Network(_vgg.vgg11, 32),
    "vgg16-small": Network(_vgg.vgg16, 32),
}


def names() -> list[str]:
    """The reference networks that `build` and `load` know.

    >>> "rar-cnn" in names()
    True
    """
    return list(NETWORKS)


def build(name: str, *, seed: int | None = None, **settings: Any) -> nn.Module:
    """A new, untrained network, in training mode.

    Args:
        name: one of `names()`; or "timm:NAME" or "torchvision:NAME", with the normalisation of
            that name's published weights inside.
        seed: the weights depend on it alone; None draws them from torch's global generator.
        settings: the network's own: `classes` for all, `channels` and `size` for networks of
            images, `vocabulary` for "text-cnn", `features` for "mlp", ... (see its class).

    Raises:
        SurefootError: an unknown name or setting, or one that the network cannot be made with.

    >>> build("rar-cnn", seed=0, classes=3)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 3])
    """
    make = maker(name)
    _check_settings(name, make, settings)
    with torch.random.fork_rng(devices=[]) if seed is not None else nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        return _made(name, make, settings).train()


def maker(name: str) -> Callable[..., nn.Module]:
    """What makes the network of that name from its settings."""
    source, _, rest = name.partition(":")
    if source in _zoo.SOURCES and rest:

        def make(classes: int | None = None) -> nn.Module:
            found = _zoo.SOURCES[source](rest, own_weights=False, classes=classes)
            return Classifier(found.module, found.mean, found.std)

        return make
    if name not in NETWORKS:
        raise SurefootError(
            f"network {name!r} is unknown; {suggest(name, NETWORKS)}, timm:NAME, torchvision:NAME"
        )
    return NETWORKS[name].make


def _check_settings(name: str, make: Callable[..., nn.Module], settings: dict[str, Any]) -> None:
    signature = inspect.signature(make)
    for setting in settings:
        if setting not in signature.parameters:
            known = suggest(setting, signature.parameters)
            raise SurefootError(f"{name} has no setting {setting!r}; {known}")
    for setting, parameter in signature.parameters.items():
        if parameter.default is parameter.empty and setting not in settings:
            raise SurefootError(f"{name} needs {setting}=, as in build({name!r}, {setting}=100)")


def _made(name: str, make: Callable[..., nn.Module], settings: dict[str, Any]) -> nn.Module:
    for setting in ("classes", "channels", "size", "vocabulary", "features"):
        value = settings.get(setting, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SurefootError(f"{setting}={value!r}, expected a positive integer")
    try:
        return make(**settings)
    except SurefootError:
        raise
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise SurefootError(f"cannot make {name} with {settings}: {reason}") from error
