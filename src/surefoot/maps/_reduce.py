"""From attributions to one number a place, and to a picture."""

from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot.checks import check_plain
from surefoot.errors import SurefootError
from surefoot.maps._layout import channel_axis, layout_of
from surefoot.maps._parts import AnyLayout, Parts
from surefoot.typed import typed

Reduction = Literal["sum_abs", "max_abs", "mean_abs", "sum", "mean"]


def reduce(
    attributions: Tensor, reduction: Reduction = "sum_abs", layout: AnyLayout | None = None
) -> Tensor:
    """One number a place: (N, C, H, W) -> (N, H, W); (N, T, D) -> (N, T); (N, F) -> (N, F).

    Reduces the channels of images, volumes (N, C, D, H, W) and signals (N, C, L), dimension 1,
    and the embedding of tokens, the last one; records have nothing to reduce, so only the absolute
    value acts. Nothing is scaled. Ghorbani et al. and RAR use "sum_abs"; DANCE "max_abs" for
    images and "mean" for text.

    Args:
        attributions: (N, ...).
        reduction: "sum_abs", "max_abs", "mean_abs", "sum" or "mean".
        layout: what the axes mean; with three axes it must be said: "signal" or "tokens". The
            `Parts` of several inputs reduce each of them and put the places side by side.

    Raises:
        SurefootError: an unknown reduction, a layout that is missing or does not fit.

    >>> tokens = torch.tensor([[[1.0, -3.0], [0.0, 2.0]]])
    >>> reduce(tokens, "sum_abs", "tokens"), reduce(tokens, "sum_abs", "signal")
    (tensor([[4., 2.]]), tensor([[1., 5.]]))
    """
    if not isinstance(reduction, str) or reduction not in get_args(Reduction):
        raise SurefootError(f"reduction={reduction!r} is unknown; choose one of {_names()}")
    if not isinstance(attributions, Tensor) or not 2 <= attributions.ndim <= 5:
        raise SurefootError(
            "expected attributions (N, C, H, W), (N, C, D, H, W), (N, C, L), (N, T, D) or (N, F), "
            f"got {tuple(getattr(attributions, 'shape', ())) or type(attributions).__name__}"
        )
    check_plain(attributions, "attributions")
    if attributions.dtype == torch.bool or attributions.is_complex():
        raise SurefootError(f"attributions have dtype {attributions.dtype}, expected numbers")
    if isinstance(layout, Parts):
        each = enumerate(layout.split(attributions))
        return torch.cat([reduce(a, reduction, layout.needed(i)).flatten(1) for i, a in each], 1)
    dim = channel_axis(layout_of(attributions, layout=layout, what="attributions"))
    values = attributions.abs() if reduction.endswith("abs") else attributions
    if dim is None:
        return values
    if reduction.startswith("max"):
        return values.amax(dim)
    return values.sum(dim) if reduction.startswith("sum") else values.mean(dim)


def _names() -> list[str]:
    return list(get_args(Reduction))


@typed
def heatmap(
    attributions: Tensor,
    percentile: float = 95,
    reduction: Reduction = "max_abs",
    layout: AnyLayout | None = None,
) -> Tensor:
    """Attributions as a picture in [0, 1]: reduced, winsorised, scaled, each sample by itself.

    The post-processing of DANCE (arXiv 2002.00526, 4.1): absolute value, maximum over channels,
    values above the percentile lowered to it, minimum to 0 and maximum to 1. A constant map
    becomes 0 everywhere. Where the percentile equals the minimum (a map with few nonzero
    places), winsorising would erase the map and is left out.

    Args:
        attributions: (N, C, H, W), (N, C, D, H, W), (N, C, L), (N, T, D) or (N, F).
        percentile: in (0, 100]; 100 turns winsorising off.
        reduction: see `reduce`.
        layout: see `reduce`.

    Returns:
        (N, H, W), (N, D, H, W), (N, L), (N, T) or (N, F), in [0, 1].

    >>> heatmap(torch.tensor([[0.0, 1.0, -2.0]]), percentile=100)
    tensor([[0.0000, 0.5000, 1.0000]])
    """
    if not 0 < percentile <= 100:
        raise SurefootError(f"percentile={percentile}, expected a number in (0, 100]")
    reduced = reduce(attributions, reduction, layout)
    if not reduced.is_floating_point():
        reduced = reduced.float()
    flat = reduced.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    cap = _quantile(flat, percentile / 100)
    cap = torch.where(cap > low, cap, high)
    span = torch.where(cap > low, cap - low, torch.ones_like(cap))
    return ((flat.minimum(cap) - low) / span).view_as(reduced)


def _quantile(rows: Tensor, share: float) -> Tensor:
    """Linear-interpolation quantile of each row, (N, 1); torch.quantile stops at 16M elements."""
    ordered = rows.sort(1).values
    place = share * (rows.shape[1] - 1)
    below = int(place)
    above = min(below + 1, rows.shape[1] - 1)
    return torch.lerp(ordered[:, [below]], ordered[:, [above]], place - below)
