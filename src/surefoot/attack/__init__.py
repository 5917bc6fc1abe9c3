"""Attacks inside a budget: on explanations with the prediction kept, and on predictions."""

from surefoot.attack._agreement import Agreement, check_second_order
from surefoot.attack._autoattack import AutoAttack
from surefoot.attack._base import AttributionAttack
from surefoot.attack._budget import L2, Budget, Linf
from surefoot.attack._dissimilarity import Dissimilarity
from surefoot.attack._manipulation import Manipulation
from surefoot.attack._mass_center import MassCenter
from surefoot.attack._parse import parse
from surefoot.attack._prediction import FGSM, PGD, PredictionResult
from surefoot.attack._random_sign import RandomSign
from surefoot.attack._result import AttackResult
from surefoot.attack._smooth import Smooth, smooth
from surefoot.attack._target import Target
from surefoot.attack._topk import TopK

__all__ = [
    "FGSM",
    "L2",
    "PGD",
    "Agreement",
    "AttackResult",
    "AttributionAttack",
    "AutoAttack",
    "Budget",
    "Dissimilarity",
    "Linf",
    "Manipulation",
    "MassCenter",
    "PredictionResult",
    "RandomSign",
    "Smooth",
    "Target",
    "TopK",
    "check_second_order",
    "parse",
    "smooth",
]
