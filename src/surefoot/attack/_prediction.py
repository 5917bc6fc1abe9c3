"""Attacks on predictions, for adversarial accuracy: FGSM (arXiv 1412.6572) and PGD (1706.06083)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.budget import Box, Budget
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.progress import Progress, reporter
from surefoot.recipes import Recipe

Loss = Literal["cross_entropy", "margin"]
Report = Callable[[int, int], None]

# Both losses grow as the label's score falls.
_SCORES: Mapping[str, tuple[gradients.Score, int]] = {
    "cross_entropy": ("loss", 1),
    "margin": ("margin", -1),
}


@dataclass(frozen=True, repr=False)
class PredictionResult:
    """Adversarial inputs and what the model says of them.

    Attributes:
        attack: the recipe.
        originals: (N, ...), the clean inputs.
        inputs: (N, ...), each sample's worst iterate, or the clean input where that is worst.
        labels: (N,), what should be predicted.
        predictions: (N,), what is.
    """

    attack: Recipe
    originals: Tensor
    inputs: Tensor
    labels: Tensor
    predictions: Tensor

    @property
    def robust(self) -> Tensor:
        """Whether the label is still predicted, (N,) bool; its mean is the accuracy."""
        return self.predictions == self.labels

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, which: int | slice | Tensor) -> "PredictionResult":
        """The result of some samples; a number gives a batch of one."""
        if isinstance(which, int):
            which = range(len(self))[which]
            which = slice(which, which + 1)
        names = ("originals", "inputs", "labels", "predictions")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def __repr__(self) -> str:
        share = self.robust.float().mean()
        return f"PredictionResult({self.attack!r}: {share:.1%} of {len(self)} still right)"


@dataclass(frozen=True, repr=False)
class PGD(Recipe):
    """Projected gradient ascent on the loss (Madry et al., arXiv 1706.06083).

    x' <- proj(x' + step * unit(grad loss)), sign for `Linf`, normalised for `L2`. Of all iterates
    and restarts each sample keeps one that is misclassified, or else the one of highest loss; a
    misclassified sample takes no further step. The first run starts at the clean input unless the
    budget says random_start=True (as Madry et al. do), further ones at random.

    Args:
        budget: an `Linf` or `L2`.
        loss: "cross_entropy", or "margin" (best other logit minus the label's).
        seed: of random starts, shared by all samples.
        progress: True for a bar, or a callable that gets the steps done and their number.

    >>> from surefoot.attack import Linf
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
    >>> PGD(Linf(0.2, steps=5))(net, torch.full((1, 4), 0.1), labels=0).robust
    tensor([True])
    """

    budget: Budget
    loss: Loss = field(default="cross_entropy", kw_only=True)
    seed: int = field(default=0, kw_only=True)
    progress: Progress = field(default=False, kw_only=True, repr=False, compare=False)

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
    ) -> PredictionResult:
        """Attack the predictions of a batch.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point (N, ...), inside the budget's bounds.
            labels: the classes to be lost, one or (N,); None takes the clean predictions.
            extra: further keyword inputs of the model, leading dimension N.

        Returns:
            A `PredictionResult`.

        Raises:
            SurefootError: inputs outside the bounds, a setting out of range.
        """
        if self.loss not in get_args(Loss):
            raise SurefootError(f"loss={self.loss!r}, choose one of {get_args(Loss)}")
        with torch.inference_mode(False), torch.no_grad():
            request, box = prepared(self.budget, model, inputs, labels, extra)
            with reporter(self.progress, type(self).__name__) as report:
                worst = self._search(request, box, report)
        return judged(self, request, worst)

    def _search(self, request: Query, box: Box, report: Report) -> Tensor:
        worst, highest = request.inputs.clone(), box.centre.new_full((len(box.centre),), -torch.inf)
        steps = self.budget.steps
        for restart in range(self.budget.restarts):
            points = request.inputs.clone()
            if restart or self.budget.random_start:
                points = self.budget.random(self.seed, restart, box)
            for step in range(steps + 1):
                report(restart * steps + step, self.budget.restarts * steps)
                which = (highest < torch.inf).nonzero()[:, 0]
                if not len(which):
                    return worst
                some = replace(request.take(which), inputs=points[which])
                value, slope = loss_and_slope(some, self.loss)
                better = value > highest[which]
                highest[which[better]] = value[better]
                worst[which[better]] = points[which[better]]
                if step < steps:
                    here = box.take(which)
                    points[which] = self.budget.climb(points[which], slope, step, here)
        return worst


@dataclass(frozen=True, repr=False)
class FGSM(Recipe):
    """One step of the whole radius along the loss's slope (Goodfellow et al., arXiv 1412.6572).

    Args:
        budget: an `Linf` or `L2`; its steps, step size, restarts and start are ignored.
        loss: see `PGD`.
    """

    budget: Budget
    loss: Loss = field(default="cross_entropy", kw_only=True)

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
    ) -> PredictionResult:
        """Attack the predictions of a batch; arguments, result and errors are those of `PGD`."""
        budget = replace(
            self.budget, steps=1, step_size=self.budget.radius, restarts=1, random_start=False
        )
        result = PGD(budget, loss=self.loss)(model, inputs, labels, extra=extra)
        return replace(result, attack=self)


def prepared(
    budget: Budget,
    model: nn.Module,
    inputs: Tensor,
    labels: checks.Target,
    extra: Mapping[str, Tensor] | None,
) -> tuple[Query, Box]:
    """The request and the box, checked."""
    if not isinstance(budget, Budget):
        raise SurefootError(
            f"budget={budget!r}, expected attack.Linf(epsilon) or attack.L2(epsilon)"
        )
    budget.check()
    request = gradients.query(model, inputs, labels, extra, create_graph=False)
    low, high = checks.check_bounds(request.inputs, budget.bounds)
    return request, Box(request.inputs, low, high)


def judged(attack: Recipe, request: Query, worst: Tensor) -> PredictionResult:
    """The result, with predictions made afresh."""
    predictions = gradients.predict(request.model, worst, request.extra).argmax(1)
    return PredictionResult(attack, request.inputs, worst, request.target, predictions)


def loss_and_slope(request: Query, loss: Loss) -> tuple[Tensor, Tensor]:
    """The loss (n,), infinite where the label is lost already, and its gradient (n, ...)."""
    score, sign = _SCORES[loss]
    values, slope = request.inputs.new_empty(len(request.inputs)), torch.empty_like(request.inputs)

    def compute(block: Block) -> tuple[Tensor, Tensor, Tensor]:
        some = request.take(block.samples)
        lost = []

        def value(points: Tensor) -> Tensor:
            logits = gradients.forward(some.model, points, some.extra)
            lost.append(logits.argmax(1) != some.target)
            return sign * gradients.class_scores(logits, some.target, score)

        return (*gradients.value_and_gradient(value, some.inputs), lost[0])

    rows = rows_per_batch(request.inputs, None)
    for (samples, _), (value, gradient, lost) in each_block(len(values), 1, rows, compute):
        values[samples] = value.masked_fill(lost, torch.inf)
        slope[samples] = gradient
    return values, slope
