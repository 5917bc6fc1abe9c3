"""Straight paths from a baseline to an input: where they begin, points on them, weights."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import SurefootError

Quadrature = Literal["gausslegendre", "midpoint", "trapezoid", "left", "right"]
Baseline = float | Tensor | Callable[[Tensor], Tensor]
_GAUSS = 5000


def resolve_baseline(baseline: Baseline, inputs: Tensor) -> Tensor:
    """The baseline as a tensor shaped like `inputs`.

    Raises:
        SurefootError: it does not broadcast to the inputs, or is not finite.
    """
    try:
        value = baseline(inputs.detach()) if callable(baseline) else baseline
        value = torch.as_tensor(value, dtype=inputs.dtype, device=inputs.device)
    except SurefootError:
        raise
    except Exception as error:  # a callable is the user's and may raise anything
        raise SurefootError(
            f"the baseline, a {type(baseline).__name__}, gives no numbers for the inputs "
            f"({type(error).__name__}: {error}); expected a number, a tensor, or a callable from "
            "the inputs to one"
        ) from error
    if not torch.isfinite(value).all():
        raise SurefootError("the baseline holds NaN or infinite values, expected finite numbers")
    try:
        return value.expand_as(inputs)
    except RuntimeError:
        raise SurefootError(
            f"the baseline has shape {tuple(value.shape)}, which does not broadcast to the inputs "
            f"{tuple(inputs.shape)}"
        ) from None


def quadrature_rule(name: Quadrature, steps: int) -> tuple[Tensor, Tensor]:
    """Points in [0, 1] and weights that sum to 1, both (steps,), float64.

    >>> quadrature_rule("right", 2)
    (tensor([0.5000, 1.0000], dtype=torch.float64), tensor([0.5000, 0.5000], dtype=torch.float64))
    """
    if name == "gausslegendre" and steps > _GAUSS:
        raise SurefootError(
            f"steps={steps}: finding the points of 'gausslegendre' takes steps x steps numbers; "
            f"take 'midpoint' for more than {_GAUSS}"
        )
    least = 2 if name == "trapezoid" else 1
    if steps < least:
        raise SurefootError(f"steps={steps}, expected at least {least} for {name!r}")
    index = torch.arange(steps, dtype=torch.float64, device="cpu")
    even = torch.full_like(index, 1 / steps)
    if name == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)
    if name == "midpoint":
        return (index + 0.5) / steps, even
    if name == "left":
        return index / steps, even
    if name == "right":
        return (index + 1) / steps, even
    if name == "trapezoid":
        halved = torch.full_like(index, 1 / (steps - 1))
        halved[[0, -1]] /= 2
        return index / (steps - 1), halved
    raise SurefootError(f"quadrature={name!r} is unknown; choose one of {get_args(Quadrature)}")
