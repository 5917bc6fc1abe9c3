"""Models by name or path, and the adapter that makes anything a model of this library."""

from surefoot.models._card import Card as Card, card as card
from surefoot.models._classifier import (
    Classifier as Classifier,
    along_channels as along_channels,
    inside as inside,
)
from surefoot.models._folded import fold as fold, folded as folded
from surefoot.models._load import load as load
from surefoot.models._networks import (
    NETWORKS as NETWORKS,
    build as build,
    maker as maker,
    names as names,
)
from surefoot.models._outputs import binary as binary
from surefoot.models._rar import RARCNN as RARCNN, RARResNet as RARResNet
from surefoot.models._released import WEIGHTS as WEIGHTS, file_name as file_name
from surefoot.models._resnet import ResNet as ResNet
from surefoot.models._saved import (
    CARD as CARD,
    ZOO as ZOO,
    cards as cards,
    read_card as read_card,
    save as save,
    weights_of as weights_of,
)
from surefoot.models._small import MLP as MLP, SGTCNN as SGTCNN
from surefoot.models._text import TextCNN as TextCNN
from surefoot.models._vgg import VGG as VGG
from surefoot.models._weights import load_weights as load_weights, save_weights as save_weights

# What is imported and not named here serves the packages above; it is no promise to users.
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
    "binary",
    "build",
    "card",
    "cards",
    "folded",
    "load",
    "load_weights",
    "names",
    "save",
]
