"""What is known of a model besides its weights; it travels with the module."""

from dataclasses import dataclass

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

    >>> card(nn.Linear(2, 2))
    Card(name='', size=None, labels=None, channels=None)
    """
    found = getattr(model, "surefoot_card", None)
    return found if isinstance(found, Card) else Card()


def attach(model: nn.Module, value: Card) -> nn.Module:
    """`model` itself, carrying the card."""
    model.surefoot_card = value  # type: ignore[assignment]
    return model
