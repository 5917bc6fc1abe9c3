"""Explanations can be manipulated (Dombrowski et al., arXiv 1906.07983): towards a chosen map."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._beta import Beta
from surefoot.attack._case import Case
from surefoot.attack._objectives import shares
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query


@dataclass(frozen=True, repr=False)
class Manipulation(AttributionAttack):
    """Make the map look like another: D = -MSE(h(x'), h_t) - w MSE(g(x'), g(x)).

    h is the reduced map divided by its sum, h_t the chosen one likewise, g the softmax output
    (this project's reading of the authors' code). Their weights 1e11 and 1e6 give w = 1e-5; beta
    grows from 10 to 100, without which their result does not reproduce on ReLU networks. They
    use Adam without a ball, this uses the budget. Iterates are chosen by
    ||h(x') - h_t||^2 / ||h_t||^2, which stands in the scores as "distance": 0 is the chosen map.
    See `AttributionAttack` for the other settings.

    Args:
        budget: an `Linf` or `L2`, or several.
        towards: the map h_t, shaped like one reduced map (H, W), (T,) or (F,), or with a leading
            N; not negative, in any scale.
        output_weight: w.

    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.ReLU(), torch.nn.Linear(20, 2))
    >>> towards = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])  # all on the last field
    >>> attack = Manipulation(Linf(0.2, steps=9), towards=towards)
    >>> found = attack(net.eval(), torch.rand(2, 6), None, Gradient())
    >>> shares = [found_map.abs().div(found_map.abs().sum()) for found_map in found.after]
    >>> round(float((shares[0] - towards).square().sum() - found.scores["distance"][0]), 6) + 0.0
    0.0
    """

    own_score = "distance"

    towards: Tensor = field(default_factory=lambda: torch.empty(0), kw_only=True)
    output_weight: float = field(default=1e-5, kw_only=True)
    beta: Beta = field(default=(10.0, 100.0), kw_only=True)

    def hold(self, reduced: Tensor) -> Held:
        towards = self.towards
        if not isinstance(towards, Tensor) or towards.shape not in (
            reduced.shape,
            reduced.shape[1:],
        ):
            came = tuple(towards.shape) if isinstance(towards, Tensor) else type(towards).__name__
            raise SurefootError(
                f"towards is {came}, expected a map shaped like one reduced map "
                f"{tuple(reduced.shape[1:])}, or all {tuple(reduced.shape)}"
            )
        wanted = towards.to(reduced).expand_as(reduced)
        if (wanted < 0).any() or not wanted.flatten(1).any(1).all():
            raise SurefootError("towards must have no negative value and some positive ones")
        return {"wanted": shares(wanted)}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return -(shares(reduced) - held["wanted"]).square().flatten(1).mean(1)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        wanted = held["wanted"].flatten(1)
        apart = (shares(reduced).flatten(1) - wanted).square().sum(1)
        return apart / wanted.square().sum(1)

    def push(self, case: Case) -> Any:
        if not self.output_weight:
            return None
        clean = gradients.predict(
            case.request.model, case.request.inputs, case.request.extra
        ).softmax(1)

        def slope(request: Query, which: Tensor) -> Tensor:
            return -self.output_weight * drift_gradient(request, clean[which])

        return slope


def drift_gradient(request: Query, clean: Tensor) -> Tensor:
    """The gradient of MSE(g(x'), g(x)) by x', (n, ...), for softmax outputs g."""

    def compute(block: Block) -> Tensor:
        some, there = request.take(block.samples), clean[block.samples]

        def drift(points: Tensor) -> Tensor:
            logits = gradients.forward(some.model, points, some.extra)
            return (logits.softmax(1) - there).square().mean(1)

        return gradients.value_and_gradient(drift, some.inputs)[1]

    parts = each_block(len(clean), 1, rows_per_batch(request.inputs, None), compute)
    return gradients.sum_blocks(parts, request.inputs)
