"""Training objectives, drop-in losses for models whose explanations hold, and a loop for them."""

from surefoot.train._alignment import InputGradientAlignment
from surefoot.train._attributional import AttributionalRegularizers
from surefoot.train._base import Loss, NonFiniteLossError, Objective, Parts
from surefoot.train._batch import Batch, State
from surefoot.train._curvature import SmoothedCurvature
from surefoot.train._fgsm import FGSM
from surefoot.train._free import FreeAT
from surefoot.train._gradient_alignment import LocalGradientAlignment
from surefoot.train._ig_norm import IGNorm, IGSumNorm
from surefoot.train._igr import IGR
from surefoot.train._influence import influence
from surefoot.train._input_gradient import InputGradientRegularization
from surefoot.train._jacobian import JacobianRegularization
from surefoot.train._mode import eval_mode
from surefoot.train._natural import Natural
from surefoot.train._parse import parse
from surefoot.train._passes import Passes
from surefoot.train._pgd import PGD
from surefoot.train._r2et import R2ET
from surefoot.train._registry import get, names
from surefoot.train._right_reasons import RightForRightReasons
from surefoot.train._saliency_guided import SaliencyGuided
from surefoot.train._scaat import SCAAT
from surefoot.train._trades import TRADES
from surefoot.train.loop import Loop, Trained, Validation, fit

__all__ = [
    "FGSM",
    "IGR",
    "PGD",
    "R2ET",
    "SCAAT",
    "TRADES",
    "AttributionalRegularizers",
    "Batch",
    "FreeAT",
    "IGNorm",
    "IGSumNorm",
    "InputGradientAlignment",
    "InputGradientRegularization",
    "JacobianRegularization",
    "LocalGradientAlignment",
    "Loop",
    "Loss",
    "Natural",
    "NonFiniteLossError",
    "Objective",
    "Parts",
    "Passes",
    "RightForRightReasons",
    "SaliencyGuided",
    "SmoothedCurvature",
    "State",
    "Trained",
    "Validation",
    "eval_mode",
    "fit",
    "get",
    "influence",
    "names",
    "parse",
]
