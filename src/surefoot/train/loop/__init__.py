"""The training loop, on Lightning Fabric."""

from surefoot.train.loop._batches import check_data as check_data
from surefoot.train.loop._checkpoint import (
    MODEL_FILE as MODEL_FILE,
    checkpoints as checkpoints,
    last_checkpoint as last_checkpoint,
)
from surefoot.train.loop._fit import fit as fit
from surefoot.train.loop._plan import Loop as Loop
from surefoot.train.loop._trained import Trained as Trained
from surefoot.train.loop._validation import (
    Validation as Validation,
    mean as mean,
    together as together,
)

__all__ = ["Loop", "Trained", "Validation", "fit"]
