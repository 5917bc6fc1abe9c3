"""The targeted attack of Ghorbani, Abid and Zou (arXiv 1710.10547): mass into a region."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._objectives import check_plane, shares
from surefoot.errors import SurefootError


@dataclass(frozen=True, repr=False)
class Target(AttributionAttack):
    """Bring the map into a region T: D = sum over i in T of I_i(x'), I summing to 1.

    Iterates are chosen by that share, which stands in the scores as "region_mass". See
    `AttributionAttack` for the other settings.

    Args:
        budget: an `Linf` or `L2`, or several.
        region: bool, shaped like one reduced map (H, W), (T,) or (F,), or with a leading N; None
            is the bottom-right 4 x 4 pixels, as in DANCE (arXiv 2002.00526, 4.3).

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> layers = torch.nn.Linear(4, 8), torch.nn.Softplus(), torch.nn.Linear(8, 2)
    >>> net = torch.nn.Sequential(*layers).eval()
    >>> target = Target(Linf(0.1, steps=2), region=torch.arange(4) < 1)
    >>> found = target(net, torch.rand(1, 4), None, Gradient())
    >>> bool((found.inputs - found.originals).abs().max() <= 0.1 + 1e-6)
    True
    """

    lower_is_damage = False
    own_score = "region_mass"

    region: Tensor | None = field(default=None, kw_only=True)

    def hold(self, reduced: Tensor) -> Held:
        if self.region is None:
            region = torch.zeros_like(check_plane(reduced, "Target without a region"))
            region[:, -4:, -4:] = 1
            return {"region": region}
        if not isinstance(self.region, Tensor) or self.region.dtype != torch.bool:
            raise SurefootError("region must be a bool tensor, e.g. heat > 0.5")
        if self.region.shape not in (reduced.shape, reduced.shape[1:]):
            raise SurefootError(
                f"region has shape {tuple(self.region.shape)}, expected that of one reduced map "
                f"{tuple(reduced.shape[1:])}, or of all {tuple(reduced.shape)}"
            )
        return {"region": self.region.to(reduced).expand_as(reduced)}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return (shares(reduced) * held["region"]).flatten(1).sum(1)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        return self.objective(reduced, held)
