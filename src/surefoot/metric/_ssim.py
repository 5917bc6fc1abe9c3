"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE TIP 13)."""

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.maps import check_pair, result_type, wide
from surefoot.metric._blur import blur
from surefoot.metric._kinds import PAIR, SIGNED, UP
from surefoot.metric._registry import measure


@measure(PAIR, SIGNED, UP)
def ssim(a: Tensor, b: Tensor, *, data_range: float | None = None, window: int = 11) -> Tensor:
    """Structural similarity of two maps as pictures; higher is more alike. Differentiable.

    Mean over windows of (2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2)),
    with means m, variances s^2 and covariance s_ab under a Gaussian window (sigma 1.5, weights
    summing to 1), C1 = (0.01 L)^2 and C2 = (0.03 L)^2 (Wang et al. 2004, Eq. 13). Only windows
    that lie wholly inside count; channels are averaged.

    Args:
        a: maps (N, H, W) or (N, C, H, W).
        b: maps of the same shape.
        data_range: L, such as 1.0 for heatmaps in [0, 1]. None takes, for each sample, the span of
            both of its maps together, so that the scale of raw attributions does not matter
            (held fixed when differentiated).
        window: odd side of the window, at most H and W.

    Returns:
        (N,) in [-1, 1]; 1 for two equal constant maps.

    Raises:
        SurefootError: shapes or devices differ, values are not finite, the maps are not pictures
            or smaller than the window, or `data_range` is not positive.

    >>> a = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> ssim(a, a), ssim(a, 1 - a) < 0
    (tensor([1.]), tensor([True]))
    """
    check_pair(a, b)
    _check(a, data_range, window)
    first, second = (wide(x).view(len(x), -1, *x.shape[-2:]) for x in (a, b))
    span = _span(first, second) if data_range is None else first.new_tensor(data_range)
    largest = float(torch.stack([first, second]).detach().abs().max())
    if largest > _LARGE:  # its squares would overflow, and the index knows no units
        first, second, span = first / largest, second / largest, span / largest
    value = _local(first, second, span, window).flatten(1).mean(1)
    return value.to(result_type(a, b))


# Largest whose fourth power is a number.
_LARGE = 1e75


def _check(a: Tensor, data_range: float | None, window: int) -> None:
    if a.ndim not in (3, 4):
        raise SurefootError(f"maps have shape {tuple(a.shape)}, expected (N, H, W) or (N, C, H, W)")
    if window < 1 or window % 2 == 0 or window > min(a.shape[-2:]):
        raise SurefootError(
            f"window={window} does not fit maps of {a.shape[-2]} x {a.shape[-1]}; "
            "give an odd window no larger than the maps"
        )
    if data_range is not None and not data_range > 0:
        raise SurefootError(f"data_range={data_range}, expected a positive number or None")


def _span(a: Tensor, b: Tensor) -> Tensor:
    both = torch.cat([a, b], 1).detach().flatten(1)
    span = both.amax(1) - both.amin(1)
    return torch.where(span > 0, span, torch.ones_like(span)).view(-1, 1, 1, 1)


def _local(a: Tensor, b: Tensor, span: Tensor, window: int) -> Tensor:
    """The index at every place where the window fits, (N, C, H', W')."""
    moments = blur(torch.stack([a, b, a * a, b * b, a * b]), window, 1.5, edges=False)
    mean_a, mean_b, square_a, square_b, product = moments
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    luminance: Tensor = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure: Tensor = (2 * (product - mean_a * mean_b) + c2) / (var_a + var_b + c2)
    return luminance * structure
