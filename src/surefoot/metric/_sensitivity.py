"""How much a map moves when its input is nudged at random."""

from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.maps import check_pair, norm, ratio, result_type, wide
from surefoot.metric._door import door
from surefoot.metric._kinds import DOWN, EXPLAINER, MOVED, POSITIVE
from surefoot.metric._nudged import Moved, Nudged, nudged
from surefoot.metric._registry import measure


@measure(MOVED, POSITIVE, DOWN)
def sensitivity(h: Tensor, h2: Tensor, images: Tensor, images2: Tensor) -> Tensor:
    """SS: how far the map moved for the way its input went; lower is better. Differentiable.

    ||E(x) - E(x')||_2 / ||x - x'||_2 (Alvarez-Melis & Jaakkola, arXiv 1806.08049; DANCE, arXiv
    2002.00526, 4.3). It scales with the map and with the pixels: state the map's norm beside it,
    since a shrinking map lowers it by itself.

    Args:
        h: maps (N, ...) of `images`, flattened as they are.
        h2: maps of `images2`, shaped like `h`.
        images: (N, ...).
        images2: shaped like `images`.

    Returns:
        (N,) in [0, inf), map units over input units; NaN where the two inputs are equal.

    Raises:
        SurefootError: shapes, devices or numbers of samples differ, or values are not finite.

    >>> import torch
    >>> x = torch.tensor([[0.0, 0.0]])
    >>> sensitivity(x, x + 3, x, x + 1)
    tensor([3.])
    """
    check_pair(h, h2, ("h", "h2"))
    check_pair(images, images2, ("images", "images2"))
    if len(h) != len(images):
        raise SurefootError(f"{len(h)} maps for {len(images)} images, expected one each")
    moved, way = norm(wide(h) - wide(h2)), norm(wide(images) - wide(images2))
    return ratio(moved, way).to(result_type(h, h2))


@measure(EXPLAINER, POSITIVE, DOWN)
@door(nudged)
def max_sensitivity(nudges: Nudged) -> Tensor:
    """Largest relative change of the map under random nudges; lower is better.

    max_d ||E(x + d) - E(x)||_2 / ||E(x)||_2 over draws ||d||_inf <= radius (Yeh et al., arXiv
    1901.09392, Def. 3.1, with its radius and number of draws). Random draws only: an attack
    (`surefoot.attack`) finds larger changes.

    Returns:
        (N,) in [0, inf); NaN where the map is zero everywhere.

    >>> import torch
    >>> max_sensitivity(lambda model, x, target: x, torch.nn.Linear(2, 2).eval(), torch.ones(1, 2),
    ...                 noise=torch.tensor([[0.0, 0.1], [0.2, 0.2]]))
    tensor([0.2000])
    """
    return nudges.worst(_relative)


@measure(EXPLAINER, POSITIVE, DOWN)
@door(nudged)
def average_sensitivity(nudges: Nudged) -> Tensor:
    """Mean relative change of the map under random nudges; lower is better.

    mean_d ||E(x + d) - E(x)||_2 / ||E(x)||_2 over draws ||d||_inf <= radius: the mean beside the
    maximum of `max_sensitivity` (Bhatt et al., arXiv 2005.00631, Eq. 2, up to the choice of
    distance).

    Returns:
        (N,) in [0, inf); NaN where the map is zero everywhere.

    >>> import torch
    >>> average_sensitivity(lambda model, x, target: x, torch.nn.Linear(2, 2).eval(),
    ...                     torch.ones(1, 2), noise=torch.tensor([[0.0, 0.0], [0.2, 0.2]]))
    tensor([0.1000])
    """
    return nudges.mean(_relative)


@measure(EXPLAINER, POSITIVE, DOWN)
@door(nudged, radius=0.1)
def local_lipschitz(nudges: Nudged) -> Tensor:
    """Largest change of the map for the way its input went, over random nudges; lower is better.

    max_d ||E(x + d) - E(x)||_2 / ||d||_2 over draws ||d||_inf <= radius (Alvarez-Melis & Jaakkola,
    arXiv 1806.08049, Eq. 2, over random draws instead of an optimiser; radius and number of draws
    are this project's choice). It scales with the map and with the pixels.

    Returns:
        (N,) in [0, inf), map units over input units.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2).eval()
    >>> local_lipschitz(lambda model, x, target: 3 * x, model, torch.ones(1, 2))
    tensor([3.0000])
    """
    return nudges.worst(lambda m: ratio(m.change, norm(wide(m.step)).expand_as(m.change)))


def _relative(moved: Moved) -> Tensor:
    """||E(x + d) - E(x)|| / ||E(x)||, (n, v)."""
    change = moved.change
    return ratio(change, norm(moved.before).expand_as(change))
