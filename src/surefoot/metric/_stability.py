"""Relative stability (Agarwal et al., arXiv 2203.06877): map change over input, output or layer."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.chunking import Block
from surefoot.gradients import Query
from surefoot.maps import norm, result_type, wide
from surefoot.metric._evaluate import logits, over_grid
from surefoot.metric._layers import find, outputs
from surefoot.metric._sensitivity import Explain, Nudges, maps_at, original_maps

# The floor of divisors; the paper asks for one and does not give it.
_LEAST = 1e-6
# Variants of some samples to what is measured of them, (n, v, d), and their logits, (n, v, K).
View = Callable[[slice, Tensor], tuple[Tensor, Tensor]]


def relative_input_stability(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.05,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """RIS: relative change of the map over that of the input; lower is better.

    max_x' ||(e - e') / e||_2 / max(||(x - x') / x||_2, 1e-6), e = E(x), over nudged inputs x' of
    the same predicted class (Agarwal et al., arXiv 2203.06877, Eq. 2). Divisors that are 0 count
    as 1e-6, so black pixels dominate the input's change. Radius and number of draws are this
    project's choice.

    Args:
        explainer: callable (model, inputs, target) -> maps (N, ...), each sample by itself.
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        target: class index, one for each sample, or None for the class predicted for the images,
            held while they are nudged.
        radius: of the uniform draws, in input units (L-infinity).
        samples: number of draws, shared by all samples.
        seed: of the draws.
        noise: the nudges x' - x themselves, (M, ...), instead of drawn ones.
        extra: further keyword inputs of model and explainer, each with leading dimension N.
        chunk: images explained at once; None chooses. It does not change results.

    Returns:
        (N,) in [0, inf); NaN where no nudged input keeps the predicted class.

    Raises:
        SurefootError: as `max_sensitivity`.

    >>> model = nn.Linear(2, 2).eval()
    >>> _ = model.weight.data.zero_()
    >>> relative_input_stability(lambda model, x, target: 5 * x, model, torch.ones(1, 2),
    ...                          noise=torch.full((1, 2), 1e-3))
    tensor([1.0000])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)

    def view(some: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        return _flat(points), logits(request, some, points)

    return _stability(explainer, request, nudge, view, chunk, relative=True)


def relative_output_stability(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    radius: float = 0.05,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """ROS: relative change of the map over that of the logits; lower is better.

    max_x' ||(e - e') / e||_2 / max(||f(x) - f(x')||_2, 1e-6), f the logits (Agarwal et al., arXiv
    2203.06877, Eq. 5). Arguments, range and errors are those of `relative_input_stability`.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> relative_output_stability(lambda model, x, target: x, model, torch.ones(1, 2),
    ...                           noise=torch.full((1, 2), 0.5))
    tensor([1.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)

    def view(some: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        found = logits(request, some, points)
        return _flat(found), found

    return _stability(explainer, request, nudge, view, chunk, relative=False)


def relative_representation_stability(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    layer: str | nn.Module,
    radius: float = 0.05,
    samples: int = 50,
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """RRS: relative change of the map over that of a layer's output; lower is better.

    max_x' ||(e - e') / e||_2 / max(||(L(x) - L(x')) / L(x)||_2, 1e-6), L the output of `layer`
    (Agarwal et al., arXiv 2203.06877, Eq. 3). Other arguments, range and errors are those of
    `relative_input_stability`.

    Args:
        explainer: as there.
        model: as there.
        images: as there.
        target: as there.
        layer: name of the layer in the model, or the module itself.
        radius: as there.
        samples: as there.
        seed: as there.
        noise: as there.
        extra: as there.
        chunk: as there.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2)).eval()
    >>> _ = model[0].weight.data.copy_(torch.eye(2)), model[1].weight.data.zero_()
    >>> nudge = torch.full((1, 2), 1e-2)
    >>> relative_representation_stability(
    ...     lambda model, x, target: x, model, torch.ones(1, 2), layer="0", noise=nudge
    ... )
    tensor([1.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    nudge = Nudges(images, radius, samples, seed, noise)
    module = find(model, layer)

    def view(some: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        inner, found = outputs(request.take(some).expand(points), module)
        grid = points.shape[:2]
        return wide(inner).view(*grid, -1), found.view(*grid, -1)

    return _stability(explainer, request, nudge, view, chunk, relative=True)


def _stability(
    explainer: Explain,
    request: Query,
    nudge: Nudges,
    view: View,
    chunk: int | None,
    *,
    relative: bool,
) -> Tensor:
    """The largest ratio over the draws that keep the prediction, (N,); NaN if none does."""
    images = request.inputs
    maps = original_maps(explainer, request, chunk)

    def compute(block: Block) -> Tensor:
        here = images[block.samples, None]
        points = here + nudge(block.variants)
        moved = maps_at(explainer, request, block.samples, points)
        change = norm(_relative(maps[block.samples, None], moved))
        seen, found = view(block.samples, torch.cat([here, points], 1))
        before, after = seen[:, :1], seen[:, 1:]
        way = norm(_relative(before, after) if relative else before - after)
        label = found.argmax(2)
        kept = label[:, :1] == label[:, 1:]
        return torch.where(kept, change / way.clamp(min=_LEAST), -torch.inf)

    worst = over_grid(request, len(nudge), compute, chunk).amax(1)
    return torch.where(worst >= 0, worst, torch.nan).to(result_type(images))


def _relative(before: Tensor, after: Tensor) -> Tensor:
    return (before - after) / torch.where(before == 0, _LEAST, before)


def _flat(points: Tensor) -> Tensor:
    """Each of (n, v, ...) as one row, (n, v, d) double."""
    return wide(points.flatten(0, 1)).view(*points.shape[:2], -1)
