"""Training objectives, drop-in losses for models whose explanations hold, and a loop for them."""

from surefoot.train._alignment import InputGradientAlignment as InputGradientAlignment
from surefoot.train._attributional import AttributionalRegularizers as AttributionalRegularizers
from surefoot.train._attributional_at import AttributionalAT as AttributionalAT
from surefoot.train._base import (
    Loss as Loss,
    NonFiniteLossError as NonFiniteLossError,
    Objective as Objective,
    Parts as Parts,
)
from surefoot.train._batch import Batch as Batch, State as State
from surefoot.train._curvature import SmoothedCurvature as SmoothedCurvature
from surefoot.train._fgsm import FGSM as FGSM
from surefoot.train._free import FreeAT as FreeAT
from surefoot.train._gradient_alignment import LocalGradientAlignment as LocalGradientAlignment
from surefoot.train._ig_norm import IGNorm as IGNorm, IGSumNorm as IGSumNorm
from surefoot.train._igr import IGR as IGR
from surefoot.train._influence import influence as influence
from surefoot.train._input_gradient import (
    InputGradientRegularization as InputGradientRegularization,
)
from surefoot.train._jacobian import JacobianRegularization as JacobianRegularization
from surefoot.train._mode import eval_mode as eval_mode
from surefoot.train._natural import Natural as Natural
from surefoot.train._passes import Passes as Passes
from surefoot.train._pgd import PGD as PGD
from surefoot.train._r2et import R2ET as R2ET
from surefoot.train._registry import (
    OBJECTIVES as OBJECTIVES,
    get as get,
    names as names,
    parse as parse,
)
from surefoot.train._right_reasons import RightForRightReasons as RightForRightReasons
from surefoot.train._saliency_guided import SaliencyGuided as SaliencyGuided
from surefoot.train._scaat import SCAAT as SCAAT
from surefoot.train._trades import TRADES as TRADES
from surefoot.train.loop import (
    MODEL_FILE as MODEL_FILE,
    Loop as Loop,
    Trained as Trained,
    Validation as Validation,
    checkpoints as checkpoints,
    fit as fit,
    last_checkpoint as last_checkpoint,
)

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = [
    "Batch",
    "Loop",
    "Loss",
    "NonFiniteLossError",
    "Objective",
    "Parts",
    "Passes",
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
__all__ += list(OBJECTIVES.known())
