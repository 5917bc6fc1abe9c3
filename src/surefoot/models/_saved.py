"""Trained networks in a folder of their own: small weights, and a card that says how they came."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from surefoot.errors import SurefootError, optional
from surefoot.files import make_folder, write_whole
from surefoot.models._classifier import Classifier, inside
from surefoot.models._compact import pack
from surefoot.models._networks import build
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
        about: what else belongs on the card: configuration, seed, data, figures, command.
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
    place = make_folder(folder)
    write_whole(place / WEIGHTS, _encoded(inner, storage))
    write_whole(place / CARD, (json.dumps(card, indent=1) + "\n").encode())
    return _module(load_saved(place))


def cards() -> dict[str, Mapping[str, Any]]:
    """The cards of the trained networks that come with the package, by the name `load` takes."""
    folders = sorted(path.parent for path in ZOO.rglob(CARD))
    return {folder.relative_to(ZOO).as_posix(): read_card(folder) for folder in folders}


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
    card = read_card(folder)
    module = build(card["network"], **card["settings"])
    load_weights(module, folder / WEIGHTS)
    labels = None if card["labels"] is None else tuple(card["labels"])
    size = card["settings"].get("size")
    return Found(module.eval(), card["mean"], card["std"], size, labels)


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
