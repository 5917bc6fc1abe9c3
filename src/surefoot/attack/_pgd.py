"""FGSM (arXiv 1412.6572) and PGD (1706.06083), for adversarial accuracy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.attack._prediction import PredictionAttack
from surefoot.budget import Box
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.progress import Progress, reporter

Named = Literal["cross_entropy", "margin"]
Loss = Named | Callable[[Tensor, Tensor], Tensor]
Keep = Literal["worst", "last"]

# Both losses grow as the label's score falls.
_SCORES: Mapping[str, tuple[gradients.Score, int]] = {
    "cross_entropy": ("loss", 1),
    "margin": ("margin", -1),
}


@dataclass(frozen=True, repr=False)
class _Ascent(PredictionAttack):
    loss: Loss = field(default="cross_entropy", kw_only=True)
    keep: Keep = field(default="worst", kw_only=True)

    def check(self, extra: Mapping[str, Tensor] | None) -> None:
        super().check(extra)
        if not callable(self.loss) and self.loss not in get_args(Named):
            raise SurefootError(
                f"loss={self.loss!r}, choose one of {get_args(Named)}, or give a function of "
                "outputs (N, K) and labels (N,) to one number a sample, (N,)"
            )
        if self.keep not in get_args(Keep):
            raise SurefootError(f"keep={self.keep!r}, choose one of {get_args(Keep)}")
        if self.keep == "last" and self.budget.restarts != 1:
            raise SurefootError('keep="last" is of one run; restarts need keep="worst"')


@dataclass(frozen=True, repr=False)
class PGD(_Ascent):
    """Projected gradient ascent on the loss (Madry et al., arXiv 1706.06083).

    x' <- proj(x' + step * unit(grad loss)), sign for `Linf`, normalised for `L2`. Of all iterates
    and restarts each sample keeps one that is misclassified, or else the one of highest loss; a
    misclassified sample takes no further step. The first run starts at the clean input unless the
    budget says random_start=True (as Madry et al. do), further ones at random.

    Args:
        budget: an `Linf` or `L2`.
        targeted: whether the labels are the classes wanted, in place of those to be lost.
        loss: "cross_entropy", "margin" (best other logit minus the label's), or a function of
            outputs (N, K) and labels (N,) to one number a sample, (N,), that grows as the label is
            lost.
        keep: "worst", or "last": all steps are taken, whatever is predicted, and the last iterate
            is the result, as in captum and in much published code.
        seed: of random starts, shared by all samples.
        progress: True for a bar, or a callable that gets the steps done and their number.

    >>> from torch import nn
    >>> from surefoot.attack import Linf
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
    >>> PGD(Linf(0.2, steps=5))(net, torch.full((1, 4), 0.1), labels=0).robust
    tensor([True])
    """

    seed: int = field(default=0, kw_only=True)
    progress: Progress = field(default=False, kw_only=True, repr=False, compare=False)

    def search(self, request: Query, box: Box) -> Tensor:
        if self.keep == "last":
            return self._last(request, box)
        worst, highest = request.inputs.clone(), box.centre.new_full((len(box.centre),), -torch.inf)
        steps, restarts = self.budget.steps, self.budget.restarts
        with reporter(self.progress, type(self).__name__) as report:
            for restart, step in product(range(restarts), range(steps + 1)):
                if step == 0:
                    points = self._start(restart, box)
                report(restart * steps + step, restarts * steps)
                which = (highest < torch.inf).nonzero()[:, 0]
                if not len(which):
                    break
                some = replace(request.take(which), inputs=points[which])
                value, slope = loss_and_slope(some, self.loss, targeted=self.targeted)
                better = value > highest[which]
                highest[which[better]] = value[better]
                worst[which[better]] = points[which[better]]
                if step < steps:
                    here = box.take(which)
                    points[which] = self.budget.climb(points[which], slope, step, here)
        return worst

    def _last(self, request: Query, box: Box) -> Tensor:
        points = self._start(0, box)
        with reporter(self.progress, type(self).__name__) as report:
            for step in range(self.budget.steps):
                report(step, self.budget.steps)
                here = replace(request, inputs=points)
                _, slope = loss_and_slope(here, self.loss, targeted=self.targeted)
                points = self.budget.climb(points, slope, step, box)
        return points

    def _start(self, restart: int, box: Box) -> Tensor:
        if restart or self.budget.random_start:
            return self.budget.random(self.seed, restart, box)
        return box.centre.clone()


@dataclass(frozen=True, repr=False)
class FGSM(_Ascent):
    """One step of the whole radius along the loss's slope (Goodfellow et al., arXiv 1412.6572).

    Args:
        budget: an `Linf` or `L2`; its steps, step size, restarts and start are ignored.
        loss: see `PGD`.
        keep: "worst", or "last": the step is taken also where it does not help.

    >>> import torch
    >>> from surefoot.attack import Linf
    >>> FGSM(Linf(0.1))(torch.nn.Linear(4, 3).eval(), torch.rand(2, 4), 0).inputs.shape
    torch.Size([2, 4])
    """

    def search(self, request: Query, box: Box) -> Tensor:
        once = replace(
            self.budget, steps=1, step_size=self.budget.radius, restarts=1, random_start=False
        )
        step = PGD(once, loss=self.loss, targeted=self.targeted, keep=self.keep)
        return step.search(request, box)


def loss_and_slope(request: Query, loss: Loss, *, targeted: bool = False) -> tuple[Tensor, Tensor]:
    """The loss (n,), infinite where the goal is reached already, and its gradient (n, ...).

    It grows as the label's score falls, or rises if the label is wanted.
    """
    way = -1 if targeted else 1
    values, slope = request.inputs.new_empty(len(request.inputs)), torch.empty_like(request.inputs)

    def compute(block: Block) -> tuple[Tensor, Tensor, Tensor]:
        some = request.take(block.samples)
        lost = []

        def value(points: Tensor) -> Tensor:
            logits = gradients.forward(some.model, points, some.extra)
            lost.append((logits.argmax(1) == some.target) == targeted)
            return way * _losses(loss, logits, some.target)

        return (*gradients.value_and_gradient(value, some.inputs, needed=True), lost[0])

    rows = rows_per_batch(request.inputs, None)
    for (samples, _), (value, gradient, lost) in each_block(len(values), 1, rows, compute):
        values[samples] = value.masked_fill(lost, torch.inf)
        slope[samples] = gradient
    return values, slope


def _losses(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of each sample, (n,)."""
    if isinstance(loss, str):
        score, sign = _SCORES[loss]
        return sign * gradients.class_scores(logits, labels, score)
    try:
        found = loss(logits, labels)
    except TypeError as error:
        raise SurefootError(
            f"loss={loss!r} cannot be called with logits {tuple(logits.shape)} and labels: {error}"
        ) from error
    if isinstance(found, Tensor) and found.shape == labels.shape:
        return found
    came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise SurefootError(
        f"loss={loss!r} gave {came} for {len(labels)} samples, expected one number a sample, "
        f"({len(labels)},); PyTorch's losses do so with reduction='none'"
    )
