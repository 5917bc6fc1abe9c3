"""Data sets by name, photographs and class names, from files and from installed packages."""

from surefoot.data._augment import CropAndFlip as CropAndFlip
from surefoot.data._labels import imagenet_labels as imagenet_labels, load_labels as load_labels
from surefoot.data._load import load as load, names as names
from surefoot.data._photographs import (
    Fit as Fit,
    dimensions as dimensions,
    load_image as load_image,
    load_pixels as load_pixels,
    locate as locate,
    photographs as photographs,
)
from surefoot.data._pictures import Pictures as Pictures
from surefoot.data._records import Records as Records
from surefoot.data._samples import Samples as Samples
from surefoot.data._text import PADDING as PADDING, Sentences as Sentences, tokenise as tokenise

# What is imported and not named here serves the packages above; it is no promise to users.
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
