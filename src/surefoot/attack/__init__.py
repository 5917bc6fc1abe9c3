"""Attacks inside a budget: on explanations with the prediction kept, and on predictions."""

from surefoot.attack._agreement import (
    Agreement as Agreement,
    check_second_order as check_second_order,
)
from surefoot.attack._autoattack import AutoAttack as AutoAttack
from surefoot.attack._base import AttributionAttack as AttributionAttack
from surefoot.attack._bound import BoundAttack as BoundAttack, bind as bind
from surefoot.attack._case import explained as explained
from surefoot.attack._dissimilarity import Dissimilarity as Dissimilarity
from surefoot.attack._ensemble import Ensemble as Ensemble
from surefoot.attack._manipulation import Manipulation as Manipulation
from surefoot.attack._mass_center import MassCenter as MassCenter
from surefoot.attack._named import ATTACKS as ATTACKS, parse as parse
from surefoot.attack._neighbours import read_synonyms as read_synonyms
from surefoot.attack._pgd import FGSM as FGSM, PGD as PGD
from surefoot.attack._prediction import (
    PredictionAttack as PredictionAttack,
    PredictionResult as PredictionResult,
)
from surefoot.attack._random_sign import RandomSign as RandomSign
from surefoot.attack._result import AttackResult as AttackResult, join_results as join_results
from surefoot.attack._routes import (
    Routes as Routes,
    second_order_routes as second_order_routes,
)
from surefoot.attack._scores import default_k as default_k
from surefoot.attack._smooth import Smooth as Smooth, smooth as smooth
from surefoot.attack._swap_words import Swapped as Swapped, SwapWords as SwapWords
from surefoot.attack._target import Target as Target
from surefoot.attack._topk import TopK as TopK
from surefoot.budget import L2 as L2, Budget as Budget, Linf as Linf

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = [
    "Agreement",
    "AttackResult",
    "AttributionAttack",
    "BoundAttack",
    "Budget",
    "PredictionAttack",
    "PredictionResult",
    "Routes",
    "Smooth",
    "SwapWords",
    "Swapped",
    "bind",
    "check_second_order",
    "parse",
    "read_synonyms",
    "second_order_routes",
    "smooth",
]
__all__ += list(ATTACKS.known())
