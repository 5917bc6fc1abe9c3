"""Data sets by name, photographs and class names, from files and from installed packages."""

from surefoot.data._augment import CropAndFlip
from surefoot.data._labels import imagenet_labels, load_labels
from surefoot.data._load import load, names
from surefoot.data._photographs import load_image, locate, photographs
from surefoot.data._pictures import Pictures
from surefoot.data._records import Records
from surefoot.data._samples import Samples
from surefoot.data._text import PADDING, Sentences, tokenise

__all__ = [
    "PADDING",
    "CropAndFlip",
    "Pictures",
    "Records",
    "Samples",
    "Sentences",
    "imagenet_labels",
    "load",
    "load_image",
    "load_labels",
    "locate",
    "names",
    "photographs",
    "tokenise",
]
