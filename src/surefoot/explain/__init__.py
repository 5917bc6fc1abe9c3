"""Explainers: frozen recipes, called as `explainer(model, inputs, target) -> attributions`."""

from surefoot.explain._asked import Asked as Asked
from surefoot.explain._base import (
    Explainer as Explainer,
    Function as Function,
    as_explainer as as_explainer,
)
from surefoot.explain._bound import bind as bind
from surefoot.explain._captum import Captum as Captum
from surefoot.explain._decoy import Decoy as Decoy
from surefoot.explain._expected import ExpectedGradients as ExpectedGradients
from surefoot.explain._explanation import (
    Explanation as Explanation,
    join_explanations as join_explanations,
)
from surefoot.explain._gradient import Gradient as Gradient, InputXGradient as InputXGradient
from surefoot.explain._integrated import (
    IntegratedGradients as IntegratedGradients,
)
from surefoot.explain._named import EXPLAINERS as EXPLAINERS, from_json as from_json, parse as parse
from surefoot.explain._quantus import quantus as quantus
from surefoot.explain._sentences import Sentences as Sentences, sentences as sentences
from surefoot.explain._smooth import SmoothGrad as SmoothGrad
from surefoot.maps import heatmap as heatmap, reduce as reduce
from surefoot.recipes import tensors as tensors, to_json as to_json

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = [
    "Explainer",
    "Explanation",
    "Sentences",
    "as_explainer",
    "bind",
    "from_json",
    "heatmap",
    "parse",
    "quantus",
    "reduce",
    "sentences",
    "tensors",
    "to_json",
]
__all__ += list(EXPLAINERS.known())
