"""Inner maximisation: projected ascent of a value per sample, in evaluation mode."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from surefoot import checks, gradients
from surefoot.attack import L2, Linf
from surefoot.budget import Box, Budget
from surefoot.gradients import class_scores
from surefoot.train._base import Objective
from surefoot.train._batch import Batch
from surefoot.train._mode import eval_mode

Norm = Literal["linf", "l2"]
Rise = Callable[[Tensor], Tensor]

_EMBEDDINGS = "embeddings of tokens, which have no bounds but (-inf, inf) of their own,"
_BUDGETS: dict[str, type[Budget]] = {"linf": Linf, "l2": L2}


@dataclass(frozen=True, repr=False)
class Ball(Objective):
    """An objective that moves inputs inside a ball around each, and inside their bounds.

    Args:
        epsilon: radius of the ball in input units.
        bounds: (low, high) of the inputs, numbers or tensors broadcastable to one input. The
            embeddings of tokens have none: (-inf, inf).
        norm: "linf" or "l2".
    """

    epsilon: float = 8 / 255
    bounds: checks.Bounds = field(default=(0, 1), kw_only=True)
    norm: Norm = field(default="linf", kw_only=True)

    def budget(self) -> Budget:
        """The ball and the steps, for the attack engine."""
        return _BUDGETS[self.norm](self.epsilon, steps=0, bounds=self.bounds)

    def check(self) -> None:
        super().check()
        self.budget().check()


@dataclass(frozen=True, repr=False)
class Adversarial(Ball):
    """An objective with an inner attack: projected ascent in evaluation mode.

    Args:
        steps: of the ascent.
        step_size: None is 2.5 epsilon / steps (Madry et al.'s 2/255 at 8/255 and 10 steps).
        random_start: whether the ascent starts at a random point of the ball.
    """

    steps: int = field(default=10, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    random_start: bool = field(default=True, kw_only=True)

    def budget(self) -> Budget:
        size = 2.5 * self.epsilon / max(1, self.steps) if self.step_size is None else self.step_size
        return replace(super().budget(), steps=self.steps, step_size=size)

    def worst(self, batch: Batch, rise: Rise) -> Tensor:
        """The x' of the ball and box that raises `rise` of each sample, in evaluation mode."""
        budget = self.budget()
        box = around(batch, budget)
        start = random_point(batch, budget, box) if self.random_start else batch.inputs
        with eval_mode(batch.model):
            return ascend(budget, box, start, rise)


def around(batch: Batch, budget: Budget) -> Box:
    """The box of the inputs; raises where they leave its bounds."""
    name = _EMBEDDINGS if batch.tokens else "inputs"
    return Box(batch.inputs, *checks.check_bounds(batch.inputs, budget.bounds, name))


def random_point(batch: Batch, budget: Budget, box: Box) -> Tensor:
    """A random point for each sample, clipped to the box.

    Uniform in the cube x + U(-epsilon, epsilon) for "linf", on the sphere for "l2".
    """
    linf = budget.norm == "linf"
    with torch.no_grad():
        way = 2 * batch.uniform() - 1 if linf else budget.unit(batch.normal())
        points = budget.project(batch.inputs + budget.radius * way, box)
    return _follow(points, box)


def ascend(budget: Budget, box: Box, start: Tensor, rise: Rise) -> Tensor:
    """The last iterate of `budget.steps` projected steps up the slope of `rise`, (N, ...)."""
    points = start.detach()
    with torch.no_grad():
        for step in range(budget.steps):
            _, slope = gradients.value_and_gradient(rise, points, needed=True)
            points = budget.climb(points, slope, step, box)
    return _follow(points, box)


def _follow(points: Tensor, box: Box) -> Tensor:
    """The points as x + d with a constant d: where x is an embedding, its weights move them."""
    x = box.centre
    return points + (x - x.detach()) if x.requires_grad else points


def loss_at(batch: Batch) -> Rise:
    """CE(f(x'), y) of each sample, as a function of x'."""

    def loss(points: Tensor) -> Tensor:
        return class_scores(batch.logits(points), batch.labels, "loss")

    return loss
