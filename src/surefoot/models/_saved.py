"""Trained networks in a folder of their own: small weights, and a card that says how they came."""

import inspect
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from torch import nn

from surefoot.errors import SurefootError, SurefootWarning, optional
from surefoot.files import (
    DamagedError,
    check_digest,
    is_file,
    make_folder,
    open_versioned,
    seal,
    write_whole,
)
from surefoot.models._classifier import Classifier, inside
from surefoot.models._compact import pack
from surefoot.models._networks import NETWORKS, build
from surefoot.models._weights import copied, load_weights
from surefoot.models._zoo import Found

Storage = Literal["int8", "float32"]

FORMAT = 1
CARD, WEIGHTS, _NEW = "card.json", "model.safetensors", "model.new.safetensors"
_LONGEST = 10_000
_CHANNELS = float | list[Any] | None
_SCHEMA = {
    "network": str,
    "settings": dict,
    "mean": _CHANNELS,
    "std": _CHANNELS,
    "labels": list[str] | None,
    "size?": int | None,
    "channels?": int | None,
}
ZOO = Path(__file__).parent / "zoo"


def save(
    model: nn.Module,
    folder: str | Path,
    network: str,
    *,
    settings: Mapping[str, Any] | None = None,
    labels: tuple[str, ...] | None = None,
    about: Mapping[str, Any] | None = None,
    storage: Storage = "int8",
) -> nn.Module:
    """Write a trained reference network so that `load(folder)` gives it back.

    With "int8" the weights are rounded to 8 bits with one scale for each row: the RAR network for
    Fashion-MNIST takes 3.3 MB instead of 13. Figures on a card should be those of the rounded
    model, which is what this returns.

    Args:
        model: the network, or a `Classifier` around it.
        folder: made if it is not there; gets card.json and model.safetensors.
        network: its name, as `build` takes it.
        settings: what `build` was given besides.
        labels: the classes' names in the order of the logits.
        about: what else belongs on the card: configuration, seed, data, figures, command; `size`
            and `channels` of the images it is for, if they are not among the settings.
        storage: "int8", or "float32" for the weights as they are.

    Returns:
        The model as it will be loaded.

    Raises:
        SurefootError: the weights are not that network's, or it cannot be written.

    >>> from surefoot.models import load
    >>> net = build("mlp", features=4, classes=2)
    >>> with TemporaryDirectory() as folder:
    ...     kept = save(net, f"{folder}/mine", "mlp", settings={"features": 4, "classes": 2})
    ...     again = load(f"{folder}/mine")
    >>> bool((again(torch.ones(1, 4)) == kept(torch.ones(1, 4))).all())
    True
    """
    if storage not in get_args(Storage):
        raise SurefootError(f"storage={storage!r}, choose one of {list(get_args(Storage))}")
    inner: nn.Module = model.module if isinstance(model, Classifier) else model
    card = {
        "format": FORMAT,
        "network": network,
        "settings": dict(settings or {}),
        **inside(model),
        "labels": None if labels is None else list(labels),
        "storage": storage,
        **(about or {}),
    }
    weights = _encoded(inner, storage)
    told = seal(card, {WEIGHTS: weights})
    with TemporaryDirectory() as scratch:  # what cannot be loaded is not written
        write_whole(Path(scratch) / WEIGHTS, weights)
        stored = _module(_found(card, Path(scratch) / WEIGHTS))
    place = make_folder(folder)
    # The card tells which of the two weights are its own, wherever this is cut off.
    write_whole(place / _NEW, weights)
    write_whole(place / CARD, told)
    (place / _NEW).replace(place / WEIGHTS)
    return stored


def cards() -> dict[str, Mapping[str, Any]]:
    """The cards of the trained networks that come with the package, by the name `load` takes.

    >>> sorted(cards())[:1]
    ['fashion-mnist/alignment']
    """
    return {name: read_card(ZOO / name) for name in names()}


def names() -> list[str]:
    """The names of the trained networks that come with the package."""
    return sorted(path.parent.relative_to(ZOO).as_posix() for path in ZOO.rglob(CARD))


def find(name: str) -> Path | None:
    """The folder of that path or name, if it holds a card."""
    for folder in (Path(name), ZOO / name):
        if name and is_file(folder / CARD):
            return folder
    return None


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a folder's card.

    Raises:
        SurefootError: it is damaged or of another format.
    """
    return open_versioned(folder / CARD, _SCHEMA, FORMAT, "card")


def load_saved(folder: Path) -> Found:
    """The network in a folder, with its weights.

    Raises:
        SurefootError: a file is damaged, or does not fit the others.
    """
    card = read_card(folder)
    if "files" not in card:
        warnings.warn(
            f"{folder / CARD} holds no digests, as earlier versions wrote it: nothing tells "
            "whether its files are whole. Save the network anew",
            SurefootWarning,
            stacklevel=2,
        )
    weights = folder / WEIGHTS
    if "files" in card and (folder / _NEW).is_file():
        with suppress(DamagedError):
            check_digest(folder / _NEW, {"files": {_NEW: card["files"][WEIGHTS]}})
            weights = folder / _NEW
    if weights.name == WEIGHTS:
        check_digest(weights, card)
    return _found(card, weights)


def input_size(network: str, settings: Mapping[str, Any]) -> int | None:
    """The side of the images that a network of these settings is for."""
    known = NETWORKS[network].size if network in NETWORKS else None
    size: int | None = settings.get("size", known)
    return size


def input_channels(network: str, settings: Mapping[str, Any]) -> int | None:
    """The channels of the images that a network of these settings takes."""
    if network not in NETWORKS or "channels" in settings:
        return settings.get("channels")
    known = inspect.signature(NETWORKS[network].make).parameters.get("channels")
    return None if known is None else known.default


def _found(card: Mapping[str, Any], weights: Path) -> Found:
    network, settings = card["network"], card["settings"]
    _check_size(network, settings, weights)
    module = build(network, **settings)
    load_weights(module, weights)
    return Found(
        module.eval(),
        card["mean"],
        card["std"],
        card.get("size") or input_size(network, settings),
        None if card["labels"] is None else tuple(card["labels"]),
        card.get("channels") or input_channels(network, settings),
    )


def _check_size(network: str, settings: Mapping[str, Any], weights: Path) -> None:
    """Raise where a card asks for a network that the weights beside it are too few for."""
    card, units = weights.with_name(CARD), settings.get("units", 1)
    longest = max(len(json.dumps(settings, default=str)), units if isinstance(units, int) else 0)
    if longest > _LONGEST:
        raise SurefootError(f"{card}: settings are longer than those of any network")
    if network not in NETWORKS:
        return
    with torch.device("meta"):
        asked = sum(value.numel() for value in build(network, **settings).state_dict().values())
    there = weights.stat().st_size if weights.is_file() else 0
    if asked > there + _LONGEST:  # each takes a byte at least
        raise SurefootError(f"{card} asks for {asked} weights, and {weights} has {there} bytes")


def _module(found: Found) -> nn.Module:
    if found.mean is None and found.std is None:
        return found.module
    return Classifier(found.module, found.mean, found.std)


def _encoded(module: nn.Module, storage: Storage) -> bytes:
    state = copied(module)
    content: bytes = optional("safetensors.torch", "cli").save(
        pack(state) if storage == "int8" else state
    )
    return content
