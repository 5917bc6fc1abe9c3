"""How much a map moves when its input is nudged at random."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.maps import check_map, check_pair, norm, ratio, result_type, wide
from surefoot.metric._correlation import injected
from surefoot.metric._evaluate import over_grid

Explain = Callable[..., Tensor]


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


def max_sensitivity(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.2,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Largest relative change of the map under random nudges; lower is better.

    max_d ||E(x + d) - E(x)||_2 / ||E(x)||_2 over draws ||d||_inf <= radius (Yeh et al., arXiv
    1901.09392, Def. 3.1, with its radius and number of draws). Random draws only: an attack
    (`surefoot.attack`) finds larger changes.

    Args:
        explainer: callable (model, inputs, target) -> maps (N, ...), each sample by itself.
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        target: class index, one for each sample, or None for the class predicted for the images,
            held while they are nudged.
        radius: of the uniform draws, in input units.
        samples: number of draws, shared by all samples.
        seed: of the draws.
        noise: the nudges d themselves, (M, ...), instead of drawn ones.
        extra: further keyword inputs of model and explainer, each with leading dimension N.
        chunk: images explained at once; None chooses. It does not change results.

    Returns:
        (N,) in [0, inf); NaN where the map is zero everywhere.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a target out of range,
            an explainer that does not give one finite map a row, or noise of another shape.

    >>> import torch
    >>> max_sensitivity(lambda model, x, target: x, nn.Linear(2, 2).eval(), torch.ones(1, 2),
    ...                 noise=torch.tensor([[0.0, 0.1], [0.2, 0.2]]))
    tensor([0.2000])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)
    return _relative_changes(explainer, request, nudge, chunk).amax(1).to(result_type(images))


def average_sensitivity(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.2,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Mean relative change of the map under random nudges; lower is better.

    mean_d ||E(x + d) - E(x)||_2 / ||E(x)||_2 over draws ||d||_inf <= radius: the mean beside the
    maximum of `max_sensitivity` (Bhatt et al., arXiv 2005.00631, Eq. 2, up to the choice of
    distance). Arguments, range and errors are those of `max_sensitivity`.

    >>> import torch
    >>> average_sensitivity(lambda model, x, target: x, nn.Linear(2, 2).eval(), torch.ones(1, 2),
    ...                     noise=torch.tensor([[0.0, 0.0], [0.2, 0.2]]))
    tensor([0.1000])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)
    return _relative_changes(explainer, request, nudge, chunk).mean(1).to(result_type(images))


def local_lipschitz(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.1,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Largest change of the map for the way its input went, over random nudges; lower is better.

    max_d ||E(x + d) - E(x)||_2 / ||d||_2 over draws ||d||_inf <= radius (Alvarez-Melis & Jaakkola,
    arXiv 1806.08049, Eq. 2, over random draws instead of an optimiser; radius and number of draws
    are this project's choice). It scales with the map and with the pixels. Arguments and errors
    are those of `max_sensitivity`.

    Returns:
        (N,) in [0, inf), map units over input units.

    >>> import torch
    >>> local_lipschitz(lambda model, x, target: 3 * x, nn.Linear(2, 2).eval(), torch.ones(1, 2))
    tensor([3.0000])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)
    original = original_maps(explainer, request, chunk)

    def compute(block: Block) -> Tensor:
        step = nudge(block.variants)
        points = images[block.samples, None] + step
        moved = norm(
            maps_at(explainer, request, block.samples, points) - original[block.samples, None]
        )
        return ratio(moved, norm(wide(step)).expand_as(moved))

    return over_grid(request, len(nudge), compute, chunk).amax(1).to(result_type(images))


@dataclass(frozen=True, eq=False)
class Nudges:
    """The perturbations added to every image, by draw number: uniform, or those given."""

    images: Tensor
    radius: float
    samples: int
    seed: int
    noise: Tensor | None

    def __post_init__(self) -> None:
        if self.noise is None and not (self.samples >= 1 and self.radius > 0):
            raise SurefootError(
                f"samples={self.samples}, radius={self.radius}: expected samples >= 1, radius > 0"
            )
        object.__setattr__(self, "noise", injected(self.noise, self.images, "noise"))

    def __len__(self) -> int:
        return self.samples if self.noise is None else len(self.noise)

    def __call__(self, variants: slice) -> Tensor:
        if self.noise is not None:
            return self.noise[variants]
        return self.radius * (2 * draws.uniform(self.seed, variants, self.images) - 1)


def maps_at(explainer: Explain, request: Query, samples: slice, points: Tensor) -> Tensor:
    """The maps of variants (n, v, ...) of some samples, each flattened, (n, v, d) double."""
    rows = request.take(samples).expand(points)
    extra = {"extra": rows.extra} if rows.extra else {}
    maps = explainer(rows.model, rows.inputs, rows.target, **extra)
    if len(check_map(maps, "the explainer's result")) != len(rows.inputs):
        raise SurefootError(
            f"the explainer gave {len(maps)} maps for {len(rows.inputs)} inputs, expected one each"
        )
    return wide(maps.detach()).view(*points.shape[:2], -1)


def original_maps(explainer: Explain, request: Query, chunk: int | None) -> Tensor:
    """The maps of the images themselves, each flattened, (N, d) double."""

    def compute(block: Block) -> Tensor:
        points = request.inputs[block.samples, None]
        return maps_at(explainer, request, block.samples, points)

    return over_grid(request, 1, compute, chunk)[:, 0]


def _relative_changes(
    explainer: Explain, request: Query, nudge: Nudges, chunk: int | None
) -> Tensor:
    """||E(x + d) - E(x)|| / ||E(x)|| for each sample and draw, (N, V)."""
    original = original_maps(explainer, request, chunk)
    size = norm(original)

    def compute(block: Block) -> Tensor:
        points = request.inputs[block.samples, None] + nudge(block.variants)
        maps = maps_at(explainer, request, block.samples, points)
        moved = norm(maps - original[block.samples, None])
        return ratio(moved, size[block.samples, None].expand_as(moved))

    return over_grid(request, len(nudge), compute, chunk)
