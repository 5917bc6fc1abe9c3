"""Metrics: pure functions from tensors to one number a sample, (N,)."""

from surefoot.metric._areas import (
    deletion as deletion,
    insertion as insertion,
    lerf as lerf,
    morf as morf,
)
from surefoot.metric._baselines import noise as noise
from surefoot.metric._correlation import (
    faithfulness_correlation as faithfulness_correlation,
    monotonicity_correlation as monotonicity_correlation,
)
from surefoot.metric._curves import (
    Curve as Curve,
    perturbation_curve as perturbation_curve,
    random_map as random_map,
)
from surefoot.metric._fidelity import (
    comprehensiveness as comprehensiveness,
    saliency_fidelity as saliency_fidelity,
    sufficiency as sufficiency,
)
from surefoot.metric._infidelity import infidelity as infidelity
from surefoot.metric._kendall import kendall as kendall
from surefoot.metric._kinds import (
    EXPLAINER as EXPLAINER,
    MAP as MAP,
    MASK as MASK,
    MODEL_ATTRIBUTIONS as MODEL_ATTRIBUTIONS,
    MODEL_MAP as MODEL_MAP,
    MOVED as MOVED,
    PAIR as PAIR,
)
from surefoot.metric._lens import lens_precision as lens_precision, lens_recall as lens_recall
from surefoot.metric._localisation import (
    localisation_auc as localisation_auc,
    pointing_game as pointing_game,
    relevance_mass_accuracy as relevance_mass_accuracy,
    relevance_rank_accuracy as relevance_rank_accuracy,
    topk_localisation as topk_localisation,
)
from surefoot.metric._randomisation import (
    parameter_randomisation as parameter_randomisation,
    random_logit as random_logit,
)
from surefoot.metric._registry import (
    REGISTRY as REGISTRY,
    Metric as Metric,
    get as get,
    names as names,
)
from surefoot.metric._road import road as road
from surefoot.metric._sensitivity import (
    average_sensitivity as average_sensitivity,
    local_lipschitz as local_lipschitz,
    max_sensitivity as max_sensitivity,
    sensitivity as sensitivity,
)
from surefoot.metric._similarity import (
    cosine as cosine,
    l2 as l2,
    mass_centre_shift as mass_centre_shift,
    pearson as pearson,
    spearman as spearman,
    topk_intersection as topk_intersection,
)
from surefoot.metric._sparsity import (
    effective_complexity as effective_complexity,
    entropy as entropy,
    gini as gini,
)
from surefoot.metric._ssim import ssim as ssim
from surefoot.metric._stability import (
    relative_input_stability as relative_input_stability,
    relative_output_stability as relative_output_stability,
    relative_representation_stability as relative_representation_stability,
)

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = [
    "REGISTRY",
    "Curve",
    "Metric",
    "get",
    "names",
    "noise",
    "perturbation_curve",
    "random_map",
]
__all__ += list(REGISTRY)
