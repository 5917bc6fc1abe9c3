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
from surefoot.models._released import WEIGHTS, released
from surefoot.models._standing import check_standing
from surefoot.models._weights import copied, load_weights
from surefoot.models._zoo import Found

Storage = Literal["int8", "float32"]

FORMAT = 1
CARD, _NEW = "card.json", "model.new.safetensors"
_LONGEST = 10_000
_ROOM = 2**20  # bytes of a file of weights beside four a weight
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
        stored = _module(_found(card, Path(folder) / CARD, Path(scratch) / WEIGHTS))
    place = make_folder(folder)
    # The card tells which of the two weights are its own, wherever this is cut off.
    write_whole(place / _NEW, weights)
    write_whole(place / CARD, told)
    (place / _NEW).replace(place / WEIGHTS)
    return stored


def cards() -> dict[str, Mapping[str, Any]]:
    """The cards of the trained networks, by the name `load` takes.

    The weights of the small ones come with the package; those of the others are files of a
    release, which `load` fetches on request (see there).

    >>> sorted(cards())[:1]
    ['fashion-mnist/alignment']
    """
    return {name: read_card(ZOO / name) for name in names()}


def names() -> list[str]:
    """The names of the trained networks whose cards come with the package."""
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
    found = open_versioned(folder / CARD, _SCHEMA, FORMAT, "card")
    if "standing" in found:
        check_standing(found["standing"], folder / CARD)
    return found


def load_saved(folder: Path, zoo: str | Path | None = None) -> Found:
    """The network in a folder, with its weights.

    Args:
        folder: with the card.
        zoo: where a release's files are, for a network of the zoo without weights beside its card.

    Raises:
        SurefootError: a file is damaged, or does not fit the others.
    """
    card = read_card(folder)
    return _found(card, folder / CARD, weights_of(folder, card, zoo))


def weights_of(folder: Path, card: Mapping[str, Any], zoo: str | Path | None = None) -> Path:
    """The file of a saved network's weights, checked against the card's digest.

    Raises:
        SurefootError: it is damaged, nowhere, or cannot be fetched.
    """
    if ZOO in folder.parents and not (folder / WEIGHTS).is_file():
        most = 4 * _asked(card["network"], card["settings"], folder / CARD) + _ROOM
        return released(folder.relative_to(ZOO).as_posix(), card, most, zoo)
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
    return weights


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


def _found(card: Mapping[str, Any], path: Path, weights: Path) -> Found:
    network, settings = card["network"], card["settings"]
    asked = _asked(network, settings, path)
    there = weights.stat().st_size if weights.is_file() else 0
    if asked > there + _LONGEST:  # each takes a byte at least
        raise SurefootError(f"{path} asks for {asked} weights, and {weights} has {there} bytes")
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


def _asked(network: str, settings: Mapping[str, Any], path: Path) -> int:
    """How many weights the network of the card at `path` has; 0 for one that `build` refuses."""
    units = settings.get("units", 1)
    longest = max(len(json.dumps(settings, default=str)), units if isinstance(units, int) else 0)
    if longest > _LONGEST:
        raise SurefootError(f"{path}: settings are longer than those of any network")
    if network not in NETWORKS:
        return 0
    with torch.device("meta"):
        return sum(value.numel() for value in build(network, **settings).state_dict().values())


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
