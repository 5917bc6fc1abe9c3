"""A model from what is written on a command line: a name, a factory, an exported program."""

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn

from surefoot import programs
from surefoot.errors import MissingExtraError, SurefootError, SurefootWarning
from surefoot.files import is_file, is_folder
from surefoot.models import _saved, _zoo
from surefoot.models._card import Card, attach
from surefoot.models._classifier import Channels, Classifier
from surefoot.models._exported import load_exported
from surefoot.models._networks import NETWORKS, build
from surefoot.models._weights import check_normalisation, normalisation, put_weights


def load(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    mean: Channels = None,
    std: Channels = None,
    classes: int | None = None,
    trust: bool = False,
    zoo: str | Path | None = None,
    **settings: Any,
) -> nn.Module:
    """A model in evaluation mode, from inputs in [0, 1] to logits; `card` tells what is known.

    Args:
        name: one of
            "efficientnet-lite0", with its ImageNet weights (extra `demo`);
            a trained network of the zoo (see `cards`), such as "fashion-mnist/scaat", or a folder
            that `save` wrote;
            "timm:NAME" or "torchvision:NAME", or the name alone (extras `timm`, `torchvision`;
            where both have it, timm's), with its default weights and normalisation;
            a reference network of `names()`, which has no weights of its own: without `weights`
            it is untrained, and a warning says so (`build` makes one to train);
            "package.module:factory", called without arguments, the working directory on the
            import path;
            the path of an exported program, "FILE.pt2" (decoys need a layer, and a program has
            none).
        weights: safetensors or weights-only checkpoint; nothing is downloaded then.
        mean: normalisation put inside, see `Classifier`; None takes what the weights' file tells
            (those of `train.fit` do), else the named model's own, and none for factories and
            programs.
        std: like `mean`.
        classes: number of logits, for reference networks, and for timm and torchvision models
            with weights of your own.
        trust: let an exported program run code of whoever made it: torch unpickles such files and
            calls what they name. Without it only those of tensors and known operators are loaded.
        zoo: where the files of a release are, an address or a folder; None takes the environment
            variable SUREFOOT_ZOO. Networks of the zoo that do not come with the package are
            fetched from there once, held against the digest on their card, and kept in
            `surefoot/zoo` of the user's cache. Without it nothing is fetched.
        settings: of a reference network, such as `channels` and `size`.

    Raises:
        SurefootError: an unknown name, a factory that fails or does not give a module, weights
            that do not fit, an exported program that could run code, weights that are not at hand
            and cannot be fetched.
        MissingExtraError: the package that has the model is not installed.

    >>> import torch
    >>> net = load("fashion-mnist/narrow-natural")
    >>> net(torch.rand(2, 1, 28, 28)).shape, net.training
    (torch.Size([2, 10]), False)
    >>> getattr(net, "surefoot_card").labels[0]
    'T-shirt/top'
    """
    if str(name) in NETWORKS:
        found = _untrained(str(name), weights, _without_none(settings, classes=classes))
    elif settings:
        raise SurefootError(
            f"{next(iter(settings))}= is for reference networks ({', '.join(NETWORKS)}), not for "
            f"{name}"
        )
    else:
        found = _find(str(name), weights, classes, trust, zoo)
    module, told = found.module, None
    if weights is not None:
        put_weights(module, weights)
        told = None if isinstance(module, Classifier) else normalisation(weights)
    own = {"mean": found.mean, "std": found.std} if told is None else told
    mean = own["mean"] if mean is None else mean
    std = own["std"] if std is None else std
    programs.evaluate(module)
    if mean is not None or std is not None:
        module = Classifier(module, mean, std)
    if weights is not None:
        check_normalisation(module, weights)
    return attach(module, Card(str(name), found.size, found.labels, found.channels))


def _untrained(name: str, weights: str | Path | None, settings: dict[str, Any]) -> _zoo.Found:
    if weights is None:
        warnings.warn(
            f"{name} is untrained: its weights are random, and so is what it says; pass weights=",
            SurefootWarning,
            stacklevel=3,
        )
    return _zoo.Found(
        build(name, **settings),
        size=_saved.input_size(name, settings),
        channels=_saved.input_channels(name, settings),
    )


def _without_none(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return settings | {name: value for name, value in more.items() if value is not None}


def _find(
    name: str,
    weights: str | Path | None,
    classes: int | None,
    trust: bool,
    zoo: str | Path | None,
) -> _zoo.Found:
    saved = _saved.find(name)
    if saved is not None:
        _refuse_classes(name, classes)
        return _saved.load_saved(saved, zoo)
    if name.endswith(".pt2"):
        _refuse_classes(name, classes)
        if weights is not None:
            raise SurefootError(f"{name} holds its own weights; leave out weights={weights}")
        return _zoo.Found(load_exported(Path(name), trust))
    if name == _zoo.LITE0:
        _refuse_classes(name, classes)
        return _zoo.efficientnet_lite0(own_weights=weights is None)
    source, _, rest = name.partition(":")
    if source in _zoo.SOURCES and rest:
        return _zoo.SOURCES[source](rest, own_weights=weights is None, classes=classes)
    if rest:
        _refuse_classes(name, classes)
        return _zoo.Found(_from_factory(source, rest))
    return _by_plain_name(name, weights, classes)


def _by_plain_name(name: str, weights: str | Path | None, classes: int | None) -> _zoo.Found:
    if is_file(name):
        raise SurefootError(
            f"{name} is a file, but no exported program (.pt2); weights alone are no model: pass "
            "package.module:factory or a name, and the file as weights"
        )
    absent = []
    for source, make in _zoo.SOURCES.items():
        try:
            known = _zoo.knows(source, name)
        except MissingExtraError:
            absent.append(source)
            continue
        if known:
            return make(name, own_weights=weights is None, classes=classes)
    if is_folder(name):
        raise SurefootError(
            f"the folder {name} holds no {_saved.CARD}, so it is no saved network; expected a "
            "folder that surefoot.models.save or surefoot train --export wrote"
        )
    hint = f"; install timm or torchvision for more: {_install(absent)}" if absent else ""
    trained = _saved.names()
    raise SurefootError(
        f"model {name!r} is unknown{_zoo.close(name, [*NETWORKS, *trained])}; expected "
        f"{_zoo.LITE0}, a trained {', '.join(trained)}, an untrained {', '.join(NETWORKS)}, "
        f"timm:NAME, torchvision:NAME, package.module:factory, FILE.pt2 or a saved folder{hint}"
    )


def _install(absent: list[str]) -> str:
    return f'pip install "surefoot[{",".join(absent)}]"'


def _refuse_classes(name: str, classes: int | None) -> None:
    if classes is not None:
        raise SurefootError(f"classes={classes} is for timm and torchvision names, not for {name}")


def _from_factory(module: str, factory: str) -> nn.Module:
    """What `module:factory` makes, or is.

    Raises:
        SurefootError: it cannot be imported, fails, or is not a torch.nn.Module.
    """
    path = f"{module}:{factory}"
    made: Any
    with _working_directory_first():
        try:
            made = attrgetter(factory)(importlib.import_module(module))
            if not isinstance(made, nn.Module):
                made = made()
        except Exception as error:  # the code is the user's and may raise anything
            raise SurefootError(
                f"cannot make the model {path} ({type(error).__name__}: {error}); expected "
                "package.module:factory, importable from here and callable without arguments"
            ) from error
    if not isinstance(made, nn.Module):
        raise SurefootError(f"{path} gave a {type(made).__name__}, expected a torch.nn.Module")
    return made


@contextmanager
def _working_directory_first() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
