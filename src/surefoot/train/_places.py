"""Saliency by place (a pixel, a token, a feature of a record), and back to entries of inputs."""

import torch
from torch import Tensor

from surefoot import gradients, maps
from surefoot.errors import SurefootError
from surefoot.explain import reduce
from surefoot.maps import Count, count, top
from surefoot.train import _paths
from surefoot.train._batch import Batch


def logits_and_saliency(batch: Batch) -> tuple[Tensor, Tensor]:
    """Clean logits (N, K), and mean_c d f_y / d x_c at each place, (N, ...); no graph."""
    request = batch.request(batch.inputs)
    logits, (gradient,) = gradients.logits_and_gradients(request, _paths.logit)
    return logits, reduce(gradient, "mean", batch.layout)


def bottom(saliency: Tensor, k: Count, share: float = 1.0) -> Tensor:
    """Whether a place is among the k lowest of its sample, bool shaped like `saliency`.

    Args:
        saliency: (N, ...).
        k: number of places, or their share if a float below 1; 0 is none.
        share: of k.
    """
    rows = saliency.flatten(1)
    lowest = round(share * count(k, rows.shape[1])) if k else 0
    if not lowest:
        return torch.zeros_like(saliency, dtype=torch.bool)
    return top(-rows, lowest).view_as(saliency)


def check_places(k: Count) -> None:
    """Raise unless `k` is a number of places, 0 for none, or a share of them below 1."""
    if isinstance(k, float):
        fits = 0 <= k < 1
    else:
        fits = isinstance(k, int) and not isinstance(k, bool) and k >= 0
    if not fits:
        raise SurefootError(
            f"k={k!r}, expected a whole number of places, at least 0, or a share in [0, 1)"
        )


def spread(places: Tensor, batch: Batch) -> Tensor:
    """One value a place, (N, ...), for every channel of the inputs; undoes `explain.reduce`."""
    return maps.spread(places, batch.layout).expand_as(batch.inputs)
