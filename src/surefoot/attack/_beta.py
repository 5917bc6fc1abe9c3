"""How sharp the surrogate's softplus is in the course of an attack."""

import warnings
from collections.abc import Callable
from typing import Literal

from torch import nn

from surefoot import gradients, programs
from surefoot.attack._smooth import DEFAULT, smooth
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.gradients import Query

Beta = float | tuple[float, float] | Literal["auto"] | None


def growth(beta: float | tuple[float, float] | None) -> Callable[[float], float | None]:
    """Beta by the share of the steps done: constant, or geometric from the first to the second.

    >>> [round(growth((10, 1000))(share)) for share in (0.0, 0.5, 1.0)]
    [10, 100, 1000]
    """
    if beta is None:
        return lambda _share: None
    first, last = beta if isinstance(beta, tuple) else (beta, beta)
    if not (first > 0 and last > 0):
        raise SurefootError(f"beta={beta}, expected positive numbers")
    return lambda share: float(first * (last / first) ** share)


def resolve(beta: Beta, request: Query) -> float | tuple[float, float] | None:
    """What "auto" means: a surrogate if the model has kinks, else none."""
    if isinstance(beta, str):
        if beta != "auto":
            raise SurefootError(f'beta={beta!r}, expected "auto", None, a number or a pair of them')
        if programs.hidden(request.model, "scripted"):
            warnings.warn(
                "the model is scripted (torch.jit), so that no smooth surrogate can stand in for "
                "its activations; the attack takes differences of the model as it is, and is "
                "weaker where that has kinks. Give the torch.nn.Module it was made of",
                SurefootWarning,
                stacklevel=2,
            )
            return None
        return DEFAULT if has_kinks(request.model, request) else None
    return beta


def has_kinks(model: nn.Module, request: Query) -> bool:
    """Whether a surrogate would replace anything."""
    one = request.take(slice(0, 1))
    surrogate = smooth(model)
    try:
        gradients.predict(surrogate, one.inputs, one.extra)
    except SurefootError:
        return False
    return bool(surrogate.replaced)
