"""A search that asks for maps alone, for explainers without a derivative.

After Square Attack (Andriushchenko et al., arXiv 1912.00049): patches of random signs at the
surface of the ball, kept where they do more damage and the prediction stays.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from surefoot import draws, gradients
from surefoot.attack._case import explained
from surefoot.attack._search import Best
from surefoot.attack._views import Objective
from surefoot.budget import Box, Budget
from surefoot.explain import Explainer
from surefoot.gradients import Query
from surefoot.maps import place_axes

_PATCHES = 2**33  # the first draw number of patches, beyond those of random starts and decoys


@dataclass(frozen=True)
class RandomPatches:
    """The search, with what it needs to score a point.

    Attributes:
        request: the clean inputs, and what is asked of the model.
        explainer: whose maps are asked for.
        labels: (N,), the prediction to keep.
        damage: of maps and sample numbers, (n,).
        budget: where points may go.
        box: the same for these inputs.
        seed: of the patches.
        queries: maps of each sample.
        enough: damage at which a sample is done.
    """

    request: Query
    explainer: Explainer
    labels: Tensor
    damage: Objective
    budget: Budget
    box: Box
    seed: int
    queries: int
    enough: float

    def run_into(self, best: Best) -> None:
        """Search from random signs, or from what has been found."""
        started = best.damage.amax(0) > -torch.inf
        signs = self.budget.signs(self.seed, 0, self.box)
        points = torch.where(self._wide(started), best.inputs[0], signs)
        current = self._ask(points, best)
        # Where signs lose the prediction the search goes from the clean input.
        points = torch.where(self._wide(current > -torch.inf), points, self.request.inputs)
        for query in range(1, self.queries):
            if not (current < self.enough).any():
                break
            tried = self._patched(points, query)
            damage = self._ask(tried, best)
            better = damage >= current
            points = torch.where(self._wide(better), tried, points)
            current = torch.where(better, damage, current)

    def _wide(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.request.inputs.ndim - 1))

    def _ask(self, points: Tensor, best: Best) -> Tensor:
        """The damage of points, (N,), minus infinity where the prediction is lost; noted."""
        everyone = torch.arange(len(points), device=points.device)
        asked = replace(self.request, inputs=points)
        damage = self.damage(explained(self.explainer, asked), everyone)
        logits = gradients.predict(asked.model, points, asked.extra)
        kept = logits.argmax(1) == self.labels
        best.note(everyone, points, damage, kept)
        return torch.where(kept, damage, -torch.inf)

    def _patched(self, points: Tensor, query: int) -> Tensor:
        """A patch of every sample at the ball's surface, one sign a channel; shared draws."""
        source = draws.generator(self.seed, _PATCHES + query)
        axes = place_axes(self.request.needed_layout())
        share = 0.4 * (1 - query / self.queries) ** 2
        where = torch.ones(points.shape[1:], dtype=torch.bool, device="cpu")
        for axis in axes:
            side = points.shape[axis]
            width = max(1, round(side * share ** (1 / len(axes))))
            first = int(torch.randint(side - width + 1, (), generator=source))
            line = torch.zeros(side, dtype=torch.bool, device="cpu")
            line[first : first + width] = True
            shape = [side if other == axis else 1 for other in range(1, points.ndim)]
            where &= line.view(shape)
        shape = [
            1 if axis in axes and len(axes) > 1 else points.shape[axis]
            for axis in range(1, points.ndim)
        ]
        up = torch.rand(shape, generator=source, device="cpu") < 0.5
        length = self.budget.radius
        if self.budget.norm == "l2":
            length /= math.sqrt(int(where.sum()))
        moved = self.request.inputs + torch.where(up, length, -length).to(points)
        return self.budget.project(torch.where(where.to(points.device), moved, points), self.box)
