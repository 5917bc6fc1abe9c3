"""Several inputs for explainers that move one at a time."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from surefoot.gradients import OneOf, Query
from surefoot.maps import Parts


def one_by_one(attribute: Callable[[int, Query], Tensor], request: Query, parts: Parts) -> Tensor:
    """The maps of several inputs side by side, (N, F): each moves while the others stand still.

    Args:
        attribute: the map of a request for one of the inputs, given its number, too.
        request: for all of them.
        parts: which they are.
    """
    maps = []
    for number, inputs in enumerate(parts.split(request.inputs)):
        seen = replace(
            request,
            model=OneOf(request.model, parts, number),
            inputs=inputs,
            extra={**request.extra, OneOf.OTHERS: request.inputs},
            layout=parts.layouts[number],
        )
        maps.append(attribute(number, seen))
    return parts.join(maps)
