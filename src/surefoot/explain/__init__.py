"""Explainers: frozen recipes, called as `explainer(model, inputs, target) -> attributions`."""

from surefoot.explain._adapters import bind, quantus
from surefoot.explain._base import Explainer, Function, as_explainer
from surefoot.explain._captum import Captum
from surefoot.explain._decoy import Decoy
from surefoot.explain._expected import ExpectedGradients
from surefoot.explain._explanation import Explanation
from surefoot.explain._gradient import Gradient, InputXGradient
from surefoot.explain._integrated import IntegratedGradients
from surefoot.explain._json import from_json, tensors, to_json
from surefoot.explain._maps import heatmap, reduce
from surefoot.explain._parse import parse
from surefoot.explain._smooth import SmoothGrad

__all__ = [
    "Captum",
    "Decoy",
    "ExpectedGradients",
    "Explainer",
    "Explanation",
    "Function",
    "Gradient",
    "InputXGradient",
    "IntegratedGradients",
    "SmoothGrad",
    "as_explainer",
    "bind",
    "from_json",
    "heatmap",
    "parse",
    "quantus",
    "reduce",
    "tensors",
    "to_json",
]
