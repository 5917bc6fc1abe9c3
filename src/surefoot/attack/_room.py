"""Where the samples of a request may go inside a budget."""

from typing import Any

import torch
from torch import Tensor

from surefoot import checks
from surefoot.budget import Box, Budget
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.maps import Parts


def box_of(request: Query, budget: Budget) -> Box:
    """The bounds of the samples, shut to the sample itself where the budget's mask is 0.

    Raises:
        SurefootError: inputs outside the bounds; bounds or a mask that do not fit them.
    """
    inputs = request.inputs
    low, high = checks.check_bounds(inputs, request.bounds(budget.bounds), rows=True)
    if budget.mask is not None:
        free = _joined(budget.mask, request)
        low, high = torch.where(free, low, inputs), torch.where(free, high, inputs)
    return Box(inputs, low, high)


def _joined(mask: Any, request: Query) -> Tensor:
    """A mask, or one for each of several inputs, as bool shaped like the request's inputs."""
    if not isinstance(request.layout, Parts):
        return _bool(mask, request.inputs)
    inputs = request.layout.split(request.inputs)
    each = mask if isinstance(mask, tuple) else (mask,) * len(inputs)
    if len(each) != len(inputs):
        raise SurefootError(f"{len(each)} masks came for {len(inputs)} inputs")
    fitted = [_bool(one, x).to(x) for one, x in zip(each, inputs, strict=True)]
    return request.layout.join(fitted) > 0


def _bool(mask: Any, inputs: Tensor) -> Tensor:
    found = torch.as_tensor(mask, device=inputs.device)
    if not ((found == 0) | (found == 1)).all():
        raise SurefootError("the budget's mask holds other values than 0 and 1 (or False and True)")
    try:
        return (found == 1).expand_as(inputs)
    except RuntimeError:
        raise SurefootError(
            f"the budget's mask has shape {tuple(found.shape)}, which does not broadcast to the "
            f"inputs {tuple(inputs.shape)}"
        ) from None
