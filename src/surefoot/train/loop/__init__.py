"""The training loop, on Lightning Fabric."""

from surefoot.train.loop._fit import fit
from surefoot.train.loop._plan import Loop
from surefoot.train.loop._trained import Trained
from surefoot.train.loop._validation import Validation

__all__ = ["Loop", "Trained", "Validation", "fit"]
