"""Trained networks in a folder of their own: small weights, and a card that says how they came."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from torch import nn

from surefoot.errors import SurefootError, optional
from surefoot.files import make_folder, write_whole
from surefoot.models._classifier import Classifier, inside
from surefoot.models._compact import pack
from surefoot.models._networks import NETWORKS, build
from surefoot.models._weights import copied, load_weights
from surefoot.models._zoo import Found

Storage = Literal["int8", "float32"]

FORMAT = 1
CARD, WEIGHTS = "card.json", "model.safetensors"
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
    weights, told = _encoded(inner, storage), (json.dumps(card, indent=1) + "\n").encode()
    with TemporaryDirectory() as scratch:  # what cannot be loaded is not written
        write_whole(Path(scratch) / WEIGHTS, weights)
        stored = _module(_found(card, Path(scratch)))
    place = make_folder(folder)
    write_whole(place / WEIGHTS, weights)
    write_whole(place / CARD, told)
    return stored


def cards() -> dict[str, Mapping[str, Any]]:
    """The cards of the trained networks that come with the package, by the name `load` takes."""
    return {name: read_card(ZOO / name) for name in names()}


def names() -> list[str]:
    """The names of the trained networks that come with the package."""
    return sorted(path.parent.relative_to(ZOO).as_posix() for path in ZOO.rglob(CARD))


def find(name: str) -> Path | None:
    """The folder of that path or name, if it holds a card."""
    for folder in (Path(name), ZOO / name):
        if name and (folder / CARD).is_file():
            return folder
    return None


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a folder's card.

    Raises:
        SurefootError: it is damaged or of another format.
    """
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text())
        if card["format"] != FORMAT:
            raise SurefootError(
                f"{folder / CARD} has format {card['format']}, expected {FORMAT}; another version "
                "of surefoot made it"
            )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, SurefootError):
            raise
        raise SurefootError(f"cannot read {folder / CARD} ({error!r}); it is no card") from error
    return card


def load_saved(folder: Path) -> Found:
    """The network in a folder, with its weights."""
    return _found(read_card(folder), folder)


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


def _found(card: Mapping[str, Any], folder: Path) -> Found:
    network, settings = card["network"], card["settings"]
    module = build(network, **settings)
    load_weights(module, folder / WEIGHTS)
    return Found(
        module.eval(),
        card["mean"],
        card["std"],
        card.get("size") or input_size(network, settings),
        None if card["labels"] is None else tuple(card["labels"]),
        card.get("channels") or input_channels(network, settings),
    )


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
