"""Decoys: inputs that differ in small patches but leave a layer unchanged (arXiv 2002.00526)."""

from surefoot.decoy._decoys import Decoys, make_decoys
from surefoot.decoy._layers import Layer, layers

__all__ = ["Decoys", "Layer", "layers", "make_decoys"]
