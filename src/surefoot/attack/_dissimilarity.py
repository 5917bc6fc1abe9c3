"""Making a map unlike itself, by a differentiable proxy of rank correlation."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

from surefoot import metric
from surefoot.attack._base import AttributionAttack, Held
from surefoot.errors import SurefootError

Proxy = Literal["cosine", "pearson"]


@dataclass(frozen=True, repr=False)
class Dissimilarity(AttributionAttack):
    """Turn the map away from itself: D = -cos(I(x'), I(x)), or the same with Pearson's r.

    The cosine is the proxy of IGR's evaluation (arXiv 2205.07279, as a replication reports it),
    Pearson's r that of FAR (2010.07393). The clean input is a stationary point of both, so the
    first step of a run that starts there has random signs. Iterates are chosen by the proxy. See
    `AttributionAttack` for the other settings.

    Args:
        budget: an `Linf` or `L2`, or several.
        proxy: "cosine" or "pearson".

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> layers = torch.nn.Linear(4, 8), torch.nn.Softplus(), torch.nn.Linear(8, 2)
    >>> net = torch.nn.Sequential(*layers).eval()
    >>> found = Dissimilarity(Linf(0.1, steps=2))(net, torch.rand(1, 4), None, Gradient())
    >>> bool((found.inputs - found.originals).abs().max() <= 0.1 + 1e-6)
    True
    """

    stationary = True

    proxy: Proxy = field(default="cosine", kw_only=True)

    @property
    def score_name(self) -> str:
        return self.proxy

    def hold(self, reduced: Tensor) -> Held:
        if self.proxy not in get_args(Proxy):
            raise SurefootError(f"proxy={self.proxy!r}, choose one of {get_args(Proxy)}")
        return {"clean": reduced}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return -self.score(reduced, held)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        return metric.get(self.proxy)(held["clean"], reduced)
