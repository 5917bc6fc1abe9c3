"""DeepLift's sums against the score's change, which they should be.

captum's rules pair what a module gets with what it gives. Two nonlinear modules side by side, as
max pooling before ReLU, are paired wrongly, and the sums are off by half of the change and more.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from surefoot.errors import SurefootWarning

_TOLERANCE = 0.01
_OTHERWISE = {"custom_attribution_func", "return_convergence_delta"}


def sums_up(methods: list[type], options: Mapping[str, Any]) -> bool:
    """Whether captum's method promises sums that are to be looked at."""
    plain = options.get("multiply_by_inputs", True) and not options.keys() & _OTHERWISE
    return [method.__name__ for method in methods] == ["DeepLift"] and bool(plain)


def warn_of_sums(method: type, maps: Tensor, delta: Tensor) -> None:
    """Warn where the sums of maps (n, ...) miss the score's change; delta (n,)."""
    rows, missed = maps.detach().flatten(1), delta.detach()
    scale = (rows.sum(1) - missed).abs() + 1e-3 * rows.abs().sum(1)
    worst = (missed.abs() / scale.clamp_min(1e-12)).max()
    if worst > _TOLERANCE:
        warnings.warn(
            f"the sums of {method.__name__} miss the score's change by up to {worst:.0%}: captum's "
            "rules do not hold for this model (as where two nonlinear modules, such as max pooling "
            "and ReLU, follow one another), so that the map is no DeepLift map; "
            "IntegratedGradients adds up on any model",
            SurefootWarning,
            stacklevel=2,
        )
