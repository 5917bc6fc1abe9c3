"""Attacks inside a budget: on explanations with the prediction kept, and on predictions."""

from surefoot.attack._base import AttributionAttack
from surefoot.attack._budget import L2, Budget, Linf
from surefoot.attack._dissimilarity import Dissimilarity
from surefoot.attack._manipulation import Manipulation
from surefoot.attack._mass_center import MassCenter
from surefoot.attack._random_sign import RandomSign
from surefoot.attack._result import AttackResult
from surefoot.attack._smooth import Smooth, smooth
from surefoot.attack._target import Target
from surefoot.attack._topk import TopK

__all__ = [
    "L2",
    "AttackResult",
    "AttributionAttack",
    "Budget",
    "Dissimilarity",
    "Linf",
    "Manipulation",
    "MassCenter",
    "RandomSign",
    "Smooth",
    "Target",
    "TopK",
    "smooth",
]
