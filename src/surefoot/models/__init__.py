"""Models by name or path, and the adapter that makes anything a model of this library."""

from surefoot.models._card import Card, card
from surefoot.models._classifier import Classifier
from surefoot.models._load import load
from surefoot.models._networks import build, names
from surefoot.models._rar import RARCNN, RARResNet
from surefoot.models._resnet import ResNet
from surefoot.models._saved import cards, save
from surefoot.models._small import MLP, SGTCNN
from surefoot.models._text import TextCNN
from surefoot.models._vgg import VGG
from surefoot.models._weights import load_weights

__all__ = [
    "MLP",
    "RARCNN",
    "SGTCNN",
    "VGG",
    "Card",
    "Classifier",
    "RARResNet",
    "ResNet",
    "TextCNN",
    "build",
    "card",
    "cards",
    "load",
    "load_weights",
    "names",
    "save",
]
