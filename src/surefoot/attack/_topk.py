"""The top-k attack of Ghorbani, Abid and Zou (arXiv 1710.10547)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

from surefoot import metric
from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._objectives import shares
from surefoot.errors import SurefootError
from surefoot.maps import Count, top

Keep = Literal["topk_intersection", "kendall"]


@dataclass(frozen=True, repr=False)
class TopK(AttributionAttack):
    """Empty the places that mattered most: D = -sum over i in A of I_i(x').

    I is the reduced map divided by its sum, A the k largest places of the clean map (arXiv
    1710.10547; 1905.09957 evaluates robust training with it). Iterates are chosen by the top-k
    intersection. See `AttributionAttack` for the other settings.

    Args:
        budget: an `Linf` or `L2`, or several.
        k: number of places, or their share if a float below 1.
        keep: by which score, the lower the better, iterates are chosen: the released code of RAR
            (arXiv 1905.09957) keeps the one of least Kendall correlation.

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 3)
    ... ).eval()
    >>> r = TopK(Linf(0.3, steps=20), k=5)(net, torch.rand(4, 20), None, Gradient())
    >>> bool(r.label_kept.all()), bool(r.scores["topk_intersection"].mean() < 0.5)
    (True, True)
    """

    own_score = "topk_intersection"

    k: Count | None = field(default=1000, kw_only=True)
    keep: Keep = field(default="topk_intersection", kw_only=True)

    def hold(self, reduced: Tensor) -> Held:
        if self.keep not in get_args(Keep):
            raise SurefootError(f"keep={self.keep!r}, choose one of {get_args(Keep)}")
        inside = top(reduced.flatten(1), self.entries(reduced)).view_as(reduced)
        return {"clean": reduced, "inside": inside}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return -(shares(reduced) * held["inside"]).flatten(1).sum(1)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        if self.keep == "kendall":
            return metric.kendall(held["clean"], reduced)
        return metric.topk_intersection(held["clean"], reduced, self.entries(reduced))

    @property
    def score_name(self) -> str:
        return self.keep
