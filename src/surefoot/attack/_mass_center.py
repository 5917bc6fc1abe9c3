"""The mass-centre attack of Ghorbani, Abid and Zou (arXiv 1710.10547)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot import metric
from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._objectives import check_plane, shares
from surefoot.errors import SurefootError


@dataclass(frozen=True, repr=False)
class MassCenter(AttributionAttack):
    """Move the map's centre of mass: D = ||C(x') - C_0||^2, C = sum_p I_p p, I summing to 1.

    C_0 is the clean centre, half a pixel off in both axes: at the centre itself the gradient is
    zero (the authors' code truncates it to whole pixels, with the same effect). Images only.
    Iterates are chosen by the shift in pixels. See `AttributionAttack` for the settings.

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> layers = torch.nn.Conv2d(3, 2, 3), torch.nn.Softplus(), torch.nn.Flatten()
    >>> net = torch.nn.Sequential(*layers, torch.nn.Linear(8, 2)).eval()
    >>> found = MassCenter(Linf(0.1, steps=2))(net, torch.rand(1, 3, 4, 4), None, Gradient())
    >>> bool((found.inputs - found.originals).abs().max() <= 0.1 + 1e-6)
    True
    """

    lower_is_damage = False
    own_score = "mass_centre_shift"

    def hold(self, reduced: Tensor) -> Held:
        if (check_plane(reduced, "MassCenter") < 0).any():
            raise SurefootError(
                f"MassCenter reads a map as mass, but reduction={self.reduction!r} gives negative "
                'values; use "sum_abs", "max_abs" or "mean_abs"'
            )
        return {"clean": reduced, "centre": centre(reduced) - 0.5}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return (centre(reduced) - held["centre"]).square().sum(1)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        return metric.mass_centre_shift(held["clean"], reduced)


def centre(reduced: Tensor) -> Tensor:
    """The centre of mass (row, column) of maps (n, H, W), (n, 2)."""
    share = shares(reduced)
    rows, columns = (
        torch.arange(size, device=reduced.device).to(reduced) for size in reduced.shape[1:]
    )
    return torch.stack([share.sum(2) @ rows, share.sum(1) @ columns], 1)
