"""The control of every attack: random signs of the same size."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from surefoot import gradients, metric
from surefoot.attack._base import AttributionAttack, Held
from surefoot.attack._case import Case, explained
from surefoot.attack._search import Best
from surefoot.budget import Box, Budget


@dataclass(frozen=True, repr=False)
class RandomSign(AttributionAttack):
    """Move every entry by the same amount up or down at random, to the surface of the ball.

    The floor that an attack must beat. Under `Linf` the amount is epsilon, under `L2` epsilon
    over the root of the number of entries; the box clips it. The signs depend on `seed` and the
    restart's number alone and are shared by all samples; of several restarts each sample keeps
    the lowest top-k intersection, so a mean over draws takes one call a seed. Steps and
    everything about derivatives are ignored, so any explainer will do. See `AttributionAttack`
    for the settings.

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Linear(4, 3).eval()      # whose map nothing moves
    >>> found = RandomSign(Linf(0.1), k=2)(net, torch.rand(1, 4), None, Gradient())
    >>> found.scores["topk_intersection"]
    tensor([1.])
    """

    own_score = "topk_intersection"

    def hold(self, reduced: Tensor) -> Held:
        return {"clean": reduced}

    def objective(self, reduced: Tensor, held: Held) -> Tensor:
        return -self.score(reduced, held)

    def score(self, reduced: Tensor, held: Held) -> Tensor:
        return metric.topk_intersection(held["clean"], reduced, self.entries(reduced))

    def explore(self, case: Case, budget: Budget, box: Box, held: Held) -> Best:
        """The draws, each scored once; one draw alone need not be."""
        best = Best(case.request.inputs)
        goal = self.goal(case, held)
        everyone = torch.arange(best.count, device=box.centre.device)
        for draw in range(budget.restarts):
            points = budget.signs(self.seed, draw, box)
            asked = replace(case.request, inputs=points)
            damage = points.new_zeros(best.count)
            if budget.restarts > 1 or self.trace:
                damage = goal.damage(explained(case.explainer, asked), everyone)
            best.open_trace(1)[0] = damage
            kept = gradients.predict(asked.model, points, asked.extra).argmax(1) == case.labels
            best.note(everyone, points, damage, kept)
        return best
