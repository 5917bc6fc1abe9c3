"""Where a layer sees the input at all: the constraint binds there, and only there decoys move."""

from collections.abc import Mapping

import torch
from torch import Tensor

from surefoot import draws, gradients, maps
from surefoot.decoy._layer import Trunk, repeated
from surefoot.errors import SurefootError

_ELEMENTS = 2**17  # of random inputs at which the layer may show that it sees
_FEWEST, _MOST = 3, 31  # of those inputs
_DOUBTFUL = 64  # places without a gradient that are asked once more, by NaN


def seen_places(
    trunk: Trunk,
    sample: Tensor,
    extra: Mapping[str, Tensor],
    box: tuple[Tensor, Tensor],
    layout: maps.Layout,
) -> Tensor:
    """(*places,) bool: where the layer's output has a gradient, at the input or at random ones.

    Few places without one may be behind dead units: NaN put there tells.

    Raises:
        SurefootError: the layer sees no place.
    """
    sample, low, high = (gradients.single(t) for t in (sample, *box))
    more = {n: gradients.single(v) if v.is_floating_point() else v for n, v in extra.items()}
    count = min(_MOST, max(_FEWEST, _ELEMENTS // sample.numel()))
    points = low + draws.uniform(0, slice(0, count), sample) * (high - low)
    points = torch.cat([sample, points])
    felt = _felt(trunk, points, more).any(0)
    channel = maps.channel_axis(layout)
    seen = felt if channel is None else felt.any(channel - 1)
    doubtful = (~seen).nonzero()
    if seen.any() and 0 < len(doubtful) <= _DOUBTFUL:
        seen[tuple(doubtful.T)] = _reached(trunk, sample, more, doubtful, layout)
    if seen.any():
        return seen.cpu()
    with torch.no_grad():
        blank = not trunk(sample, more).any()
    what = "is zero everywhere for an input" if blank else "does not see the input"
    raise SurefootError(
        f"layer {trunk.layer!r} {what}: nothing would bind a decoy there; choose another layer, "
        "surefoot.decoy.layers(model, inputs) lists them"
    )


def _felt(trunk: Trunk, points: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
    """(P, ...) bool: the features with a gradient at each point, of outputs weighted at random."""

    def probed(rows: Tensor) -> Tensor:
        outputs = trunk(rows, repeated(extra, len(rows))).flatten(1)
        weights = draws.normal(0, slice(_MOST, _MOST + 1), outputs)
        return outputs @ weights[0] if outputs.requires_grad else rows.flatten(1).sum(1) * 0

    return gradients.value_and_gradient(probed, points)[1] != 0


def _reached(
    trunk: Trunk,
    sample: Tensor,
    extra: Mapping[str, Tensor],
    places: Tensor,
    layout: maps.Layout,
) -> Tensor:
    """(P,) bool: whether NaN at each of these places (P, axes) reaches the layer."""
    here = torch.zeros(len(places), *maps.places(layout, sample), device=sample.device)
    here[(torch.arange(len(places), device=sample.device), *places.T)] = torch.nan
    rows = sample + maps.spread(here, layout)
    with torch.no_grad():
        return trunk(rows, repeated(extra, len(rows))).flatten(1).isnan().any(1)
