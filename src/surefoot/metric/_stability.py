"""Relative stability (Agarwal et al., arXiv 2203.06877): map change over input, output or layer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.copies import copied
from surefoot.layers import layer_name
from surefoot.maps import Layout, norm, result_type, wide
from surefoot.metric._door import door
from surefoot.metric._evaluate import grid
from surefoot.metric._kinds import DOWN, EXPLAINER, POSITIVE
from surefoot.metric._layers import find, outputs
from surefoot.metric._noise import Noise
from surefoot.metric._nudged import Explain, Moved, Nudged, in_a_ball, maps_of, nudged
from surefoot.metric._registry import measure

# The floor of divisors; the paper asks for one and does not give it.
_LEAST = 1e-6
# Variants of some samples to what is measured of them, (n, v, d), and their logits, (n, v, K).
View = Callable[[slice, Tensor], tuple[Tensor, Tensor]]


@measure(EXPLAINER, POSITIVE, DOWN)
@door(nudged, radius=0.05)
def relative_input_stability(nudges: Nudged) -> Tensor:
    """RIS: relative change of the map over that of the input; lower is better.

    max_x' ||(e - e') / e||_2 / max(||(x - x') / x||_2, 1e-6), e = E(x), over nudged inputs x' of
    the same predicted class (Agarwal et al., arXiv 2203.06877, Eq. 2). Divisors that are 0 count
    as 1e-6, so black pixels dominate the input's change. Radius and number of draws are this
    project's choice.

    Returns:
        (N,) in [0, inf); NaN where no nudged input keeps the predicted class.

    >>> model = nn.Linear(2, 2).eval()
    >>> _ = model.weight.data.zero_()
    >>> relative_input_stability(lambda model, x, target: 5 * x, model, torch.ones(1, 2),
    ...                          noise=torch.full((1, 2), 1e-3))
    tensor([1.])
    """
    precision, nudges = result_type(nudges.grid.images), _in_double(nudges)

    def view(samples: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        return _flat(points), nudges.grid.logits(samples, points)

    return _stability(nudges, view, relative=True).to(precision)


@measure(EXPLAINER, POSITIVE, DOWN)
@door(nudged, radius=0.05)
def relative_output_stability(nudges: Nudged) -> Tensor:
    """ROS: relative change of the map over that of the logits; lower is better.

    max_x' ||(e - e') / e||_2 / max(||f(x) - f(x')||_2, 1e-6), f the logits (Agarwal et al., arXiv
    2203.06877, Eq. 5), over x' as in `relative_input_stability`.

    Returns:
        (N,) in [0, inf); NaN where no nudged input keeps the predicted class.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> relative_output_stability(lambda model, x, target: x, model, torch.ones(1, 2),
    ...                           noise=torch.full((1, 2), 0.5))
    tensor([1.])
    """
    precision, nudges = result_type(nudges.grid.images), _in_double(nudges)

    def view(samples: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        found = nudges.grid.logits(samples, points)
        return _flat(found), found

    return _stability(nudges, view, relative=False).to(precision)


@measure(EXPLAINER, POSITIVE, DOWN)
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
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """RRS: relative change of the map over that of a layer's output; lower is better.

    max_x' ||(e - e') / e||_2 / max(||(L(x) - L(x')) / L(x)||_2, 1e-6), L the output of `layer`
    (Agarwal et al., arXiv 2203.06877, Eq. 3), over x' as in `relative_input_stability`.

    Args:
        layer: name of the layer in the model, or the module itself.

    Returns:
        (N,) in [0, inf); NaN where no nudged input keeps the predicted class.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2)).eval()
    >>> _ = model[0].weight.data.copy_(torch.eye(2)), model[1].weight.data.zero_()
    >>> nudge = torch.full((1, 2), 1e-2)
    >>> relative_representation_stability(
    ...     lambda model, x, target: x, model, torch.ones(1, 2), layer="0", noise=nudge
    ... )
    tensor([1.])
    """
    asked = grid(model, images, target, extra, chunk, layout)
    name, precision = layer_name(model, layer), result_type(images)
    nudges = _in_double(Nudged(explainer, asked, in_a_ball(images, radius, samples, seed, noise)))
    module = find(nudges.grid.request.model, name)

    def view(some: slice, points: Tensor) -> tuple[Tensor, Tensor]:
        inner, found = outputs(nudges.grid.request.take(some).expand(points), module)
        count = points.shape[:2]
        return wide(inner).view(*count, -1), found.view(*count, -1)

    return _stability(nudges, view, relative=True).to(precision)


def _in_double(nudges: Nudged) -> Nudged:
    """The same in double precision, where model and explainer run in it.

    The formulas divide by the map's entries one by one. In single precision those near zero are
    rounding, which differs with the batch, by up to a percent of the result.
    """
    grid = nudges.grid
    request = grid.request
    if request.inputs.device.type == "mps":
        return nudges
    try:
        model, explainer = copied((request.model, nudges.explainer), request.model)
        asked = replace(
            request,
            model=model.double(),
            inputs=request.inputs.double(),
            extra={name: _double(value) for name, value in request.extra.items()},
        )
        maps_of(explainer, asked.take(slice(0, 1)))
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return nudges
    noise = Noise(nudges.noise.count, lambda some: nudges.noise.draw(some).double())
    return Nudged(explainer, replace(grid, request=asked), noise)


def _double(value: Tensor) -> Tensor:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return value.double() if floats else value


def _stability(nudges: Nudged, view: View, *, relative: bool) -> Tensor:
    """The largest ratio over the draws that keep the prediction, (N,); NaN if none does."""

    def value(moved: Moved) -> Tensor:
        change = norm(_relative(moved.before, moved.after))
        seen, found = view(moved.samples, torch.cat([moved.here, moved.there], 1))
        before, after = seen[:, :1], seen[:, 1:]
        way = norm(_relative(before, after) if relative else before - after)
        label = found.argmax(2)
        kept = label[:, :1] == label[:, 1:]
        return torch.where(kept, change / way.clamp(min=_LEAST), -torch.inf)

    worst = nudges.worst(value)
    return torch.where(worst >= 0, worst, torch.nan)


def _relative(before: Tensor, after: Tensor) -> Tensor:
    return (before - after) / torch.where(before == 0, _LEAST, before)


def _flat(points: Tensor) -> Tensor:
    """Each of (n, v, ...) as one row, (n, v, d) double."""
    return wide(points.flatten(0, 1)).view(*points.shape[:2], -1)
