"""Training objectives: drop-in losses for models whose explanations hold."""

from surefoot.train._alignment import InputGradientAlignment
from surefoot.train._attributional import AttributionalRegularizers
from surefoot.train._base import Loss, NonFiniteLossError, Objective, Parts
from surefoot.train._batch import Batch, State
from surefoot.train._ig_norm import IGNorm, IGSumNorm
from surefoot.train._mode import eval_mode
from surefoot.train._natural import Natural
from surefoot.train._passes import Passes
from surefoot.train._pgd import PGD
from surefoot.train._registry import get, names
from surefoot.train._saliency_guided import SaliencyGuided
from surefoot.train._scaat import SCAAT

__all__ = [
    "PGD",
    "SCAAT",
    "AttributionalRegularizers",
    "Batch",
    "IGNorm",
    "IGSumNorm",
    "InputGradientAlignment",
    "Loss",
    "Natural",
    "NonFiniteLossError",
    "Objective",
    "Parts",
    "Passes",
    "SaliencyGuided",
    "State",
    "eval_mode",
    "get",
    "names",
]
