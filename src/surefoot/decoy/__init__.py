"""Decoys: inputs that differ in small patches but leave a layer unchanged (arXiv 2002.00526)."""

from surefoot.decoy._decoys import (
    Decoys as Decoys,
    choose_layer as choose_layer,
    make_decoys as make_decoys,
    prepare as prepare,
)
from surefoot.decoy._grid import Mask as Mask
from surefoot.decoy._layer import Name as Name
from surefoot.decoy._layers import Layer as Layer, layers as layers
from surefoot.decoy._search import Part as Part, Search as Search
from surefoot.decoy._settings import (
    Effort as Effort,
    Layers as Layers,
    Settings as Settings,
    Units as Units,
)

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = [
    "Decoys",
    "Layer",
    "layers",
    "make_decoys",
]
