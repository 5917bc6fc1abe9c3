"""What is known of a model besides its weights; it travels with the module."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Card:
    """A model's card.

    Attributes:
        name: what `surefoot.models.load` was given.
        size: side of the square input in pixels, or None if unknown.
        labels: the classes' names in the order of the logits, or None if unknown.
        channels: of the input images, or None if unknown.

    >>> Card("my net", size=32, labels=("cat", "dog"), channels=3).labels[1]
    'dog'
    """

    name: str = ""
    size: int | None = None
    labels: tuple[str, ...] | None = None
    channels: int | None = None


def card(model: nn.Module) -> Card:
    """The card of a model from `surefoot.models.load`; an empty one for any other.

    A network of transformers tells its class names itself, also inside a `Classifier`.

    >>> card(nn.Linear(2, 2))
    Card(name='', size=None, labels=None, channels=None)
    """
    found = getattr(model, "surefoot_card", None)
    known = found if isinstance(found, Card) else Card()
    return known if known.labels is not None else replace(known, labels=_told(model))


def _told(model: nn.Module) -> tuple[str, ...] | None:
    """The names in a configuration's `id2label`, unless they are the default's numbers."""
    configured = (getattr(part, "config", None) for part in (model, getattr(model, "module", None)))
    found = (getattr(each, "id2label", None) for each in configured)
    named: Any = next(filter(None, found), None)
    if not isinstance(named, Mapping) or {*named} != {*range(len(named))}:
        return None
    names = tuple(str(named[number]) for number in range(len(named)))
    default = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    return None if default else names


def attach(model: nn.Module, value: Card) -> nn.Module:
    """`model` itself, carrying the card."""
    model.surefoot_card = value  # type: ignore[assignment]
    return model
