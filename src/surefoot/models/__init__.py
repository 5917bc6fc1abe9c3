"""Models by name or path, and the adapter that makes anything a model of this library."""

from surefoot.models._card import Card, card
from surefoot.models._classifier import Classifier
from surefoot.models._load import load
from surefoot.models._networks import build, names
from surefoot.models._rar import RARCNN
from surefoot.models._resnet import ResNet
from surefoot.models._weights import load_weights

__all__ = [
    "RARCNN",
    "Card",
    "Classifier",
    "ResNet",
    "build",
    "card",
    "load",
    "load_weights",
    "names",
]
