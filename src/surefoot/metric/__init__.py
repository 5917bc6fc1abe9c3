"""Metrics: pure functions from tensors to one number a sample, (N,)."""

from surefoot.metric._areas import deletion, insertion, lerf, morf
from surefoot.metric._baselines import noise
from surefoot.metric._correlation import faithfulness_correlation, monotonicity_correlation
from surefoot.metric._curves import Curve, perturbation_curve, random_map
from surefoot.metric._fidelity import comprehensiveness, saliency_fidelity, sufficiency
from surefoot.metric._infidelity import infidelity
from surefoot.metric._kendall import kendall
from surefoot.metric._lens import lens_precision, lens_recall
from surefoot.metric._localisation import (
    localisation_auc,
    pointing_game,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    topk_localisation,
)
from surefoot.metric._randomisation import parameter_randomisation, random_logit
from surefoot.metric._registry import REGISTRY, Metric, get, names
from surefoot.metric._road import road
from surefoot.metric._sensitivity import (
    average_sensitivity,
    local_lipschitz,
    max_sensitivity,
    sensitivity,
)
from surefoot.metric._similarity import (
    cosine,
    l2,
    mass_centre_shift,
    pearson,
    spearman,
    topk_intersection,
)
from surefoot.metric._sparsity import effective_complexity, entropy, gini
from surefoot.metric._ssim import ssim
from surefoot.metric._stability import (
    relative_input_stability,
    relative_output_stability,
    relative_representation_stability,
)

__all__ = [
    "REGISTRY",
    "Curve",
    "Metric",
    "average_sensitivity",
    "comprehensiveness",
    "cosine",
    "deletion",
    "effective_complexity",
    "entropy",
    "faithfulness_correlation",
    "get",
    "gini",
    "infidelity",
    "insertion",
    "kendall",
    "l2",
    "lens_precision",
    "lens_recall",
    "lerf",
    "local_lipschitz",
    "localisation_auc",
    "mass_centre_shift",
    "max_sensitivity",
    "monotonicity_correlation",
    "morf",
    "names",
    "noise",
    "parameter_randomisation",
    "pearson",
    "perturbation_curve",
    "pointing_game",
    "random_logit",
    "random_map",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "road",
    "saliency_fidelity",
    "sensitivity",
    "spearman",
    "ssim",
    "sufficiency",
    "topk_intersection",
    "topk_localisation",
]
