"""Training objectives: drop-in losses for models whose explanations hold."""

from surefoot.train._base import Loss, NonFiniteLossError, Objective, Parts
from surefoot.train._batch import Batch, State
from surefoot.train._mode import eval_mode
from surefoot.train._natural import Natural
from surefoot.train._passes import Passes
from surefoot.train._pgd import PGD
from surefoot.train._registry import get, names

__all__ = [
    "PGD",
    "Batch",
    "Loss",
    "Natural",
    "NonFiniteLossError",
    "Objective",
    "Parts",
    "Passes",
    "State",
    "eval_mode",
    "get",
    "names",
]
