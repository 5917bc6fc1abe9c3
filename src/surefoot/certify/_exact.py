"""Exact certificates of the top k, from bounds of a map."""

from dataclasses import dataclass, field

from surefoot import checks
from surefoot.attack import explained
from surefoot.certify._base import Certifier
from surefoot.certify._certificate import Certificate
from surefoot.certify._gradient_bounds import Method
from surefoot.certify._interval import Interval, Rounding
from surefoot.certify._map_bounds import map_bounds
from surefoot.certify._places import certain, overlap, reduced
from surefoot.explain import Explainer, as_explainer
from surefoot.gradients import Query
from surefoot.maps import Count, Reduction, count, reduce, top


@dataclass(frozen=True, repr=False)
class Exact(Certifier[Certificate]):
    """What no change of an input within an L-infinity ball can do to a map's top k.

    Needs: a network whose operations are known (see `gradient_bounds`) and a map made of its
    gradients (see `map_bounds`). Promises: for every input within `radius` and `bounds`, whether
    its prediction is kept or not, what `mask` says, and that its top k shares at least `overlap`
    with the top k of the clean map. No chance is involved. Bounds grow with depth, so that the
    certificate of a deep network is empty but for tiny radii.

    Args:
        explainer: Gradient, InputXGradient, IntegratedGradients, or SmoothGrad of those.
        radius: of the ball, in input units.
        k: number of places, or their share if a float below 1.
        reduction: of the maps, see `explain.reduce`.
        bounds: (low, high) of the inputs.
        method: see `gradient_bounds`.

    >>> import torch
    >>> from torch import nn
    >>> from surefoot.explain import Gradient
    >>> net = nn.Linear(4, 2).double().eval()
    >>> c = Exact(Gradient(), radius=0.1, k=2)(net, torch.rand(3, 4).double())
    >>> c.overlap, (c.mask >= 0).all()  # a linear network has one map
    (tensor([1., 1., 1.], dtype=torch.float64), tensor(True))
    """

    explainer: Explainer
    radius: float
    k: Count = 0.05
    reduction: Reduction = field(default="sum_abs", kw_only=True)
    bounds: checks.Bounds = field(default=(0, 1), kw_only=True)
    method: Method = field(default="auto", kw_only=True)

    def certify(self, request: Query) -> Certificate:
        explainer = as_explainer(self.explainer)
        found = map_bounds(
            explainer,
            request.model,
            request.inputs,
            request.target,
            radius=self.radius,
            bounds=self.bounds,
            method=self.method,
            extra=request.extra,
        )
        layout, rounding = request.needed_layout(), Rounding.of(request.inputs.dtype)
        wide = Interval(*(end.double() for end in found))
        places = reduced(wide, self.reduction, layout, rounding)
        clean = reduce(explained(explainer, request), self.reduction, layout)
        k = count(self.k, clean[0].numel())
        inside = top(clean.flatten(1), k).view_as(clean)
        return Certificate(
            recipe=self,
            inputs=request.inputs,
            target=request.target,
            mask=certain(places, k),
            k=k,
            radius=float(self.radius),
            norm="linf",
            failure=0.0,
            overlap=overlap(places, inside, k),
            maps=_bounds_taken(explainer),
            layout=layout,
        )


def _bounds_taken(explainer: object) -> int:
    taken = 1
    while explainer is not None:
        taken *= getattr(explainer, "steps", 1) * getattr(explainer, "samples", 1)
        explainer = getattr(explainer, "base", None)
    return taken
