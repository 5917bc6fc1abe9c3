"""How much of a map is left: the similarity metrics of an attack's result."""

from torch import Tensor

from surefoot import metric
from surefoot.maps import Count


def similarities(before: Tensor, after: Tensor, k: Count) -> dict[str, Tensor]:
    """Metrics by name, each (N,), of reduced maps; a centre of mass needs (N, H, W), none < 0."""
    scores = {
        "topk_intersection": metric.topk_intersection(before, after, k),
        "kendall": metric.kendall(before, after),
        "spearman": metric.spearman(before, after),
        "cosine": metric.cosine(before, after),
    }
    if before.ndim == 3 and not ((before < 0).any() or (after < 0).any()):
        scores["mass_centre_shift"] = metric.mass_centre_shift(before, after)
    return scores


def default_k(entries: int) -> int:
    """The k of scores where none is given: 1000, or a tenth of a map with fewer than 10000."""
    return max(1, min(1000, entries // 10))
