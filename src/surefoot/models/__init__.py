"""Models by name or path, and the adapter that makes anything a model of this library."""

from surefoot.models._card import Card, card
from surefoot.models._classifier import Classifier
from surefoot.models._load import load
from surefoot.models._weights import load_weights

__all__ = ["Card", "Classifier", "card", "load", "load_weights"]
