"""Saliency-constrained adaptive adversarial training, after the abstract of arXiv 2311.05143.

The authors' exact constraint and hyper-parameters were not available to this project, nor is there
code of theirs. This is the project's reading of the abstract (adversarial samples under the
guidance of the saliency map), not a reproduction.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.budget import Box
from surefoot.errors import SurefootError
from surefoot.explain import reduce
from surefoot.maps import Count, average, rows
from surefoot.train._base import Parts, is_weight
from surefoot.train._batch import Batch
from surefoot.train._divergence import Divergence, cross_entropy, divergence
from surefoot.train._inner import Adversarial, around, ascend
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes
from surefoot.train._places import bottom, check_places, logits_and_saliency, spread

Constraint = Literal["soft", "hard", "uniform"]
Ranking = Literal["saliency", "random"]
Ascent = Literal["ce", "divergence"]
Schedule = Literal["constant", "epsilon", "k"]


@dataclass(frozen=True, repr=False)
class SCAAT(Adversarial):
    """min CE(f(x), y) + lambda Div(p(x) || p(x + d*)), d* = argmax CE(f(x + d), y) in the budget.

    Each place i (a pixel, shared by its channels) has a budget |d_i| <= eps_i that falls with its
    saliency S_i = |mean_c d f_y / d x_ci|, taken in evaluation mode, and x + d stays in the bounds.
    To first order that is an L1 penalty on the gradient of what is not salient.

    Limits: constraint="uniform" is L-infinity adversarial training with that divergence;
    constraint="hard", steps=0, epsilon=high - low fills the bottom k at random, which is
    `SaliencyGuided(ranking="absolute")` for images that span the bounds; epsilon=0 is `Natural`.
    Controls: ranking="random" (is saliency needed?), steps=0 (is the adversary needed?).
    All defaults are this project's choice. Terms: `clean`, `divergence`.

    Args:
        epsilon: largest budget of a place, in input units.
        constraint: "soft", eps_i = epsilon (1 - rank_i), the rank from 0 for the least salient
            place to 1 (equal places share their mean); "hard", epsilon for the k least salient
            places and 0 for the rest; "uniform", epsilon for all.
        k: places that "hard" frees, or their share if a float below 1.
        threshold: tau, if given takes the place of rank and k: "hard" frees places with
            S_i < tau max S, "soft" gives eps_i = epsilon (1 - S_i / (tau max S)) where positive.
        divergence: "kl", "js", or "ce" (cross-entropy at x + d).
        weight: lambda.
        steps: of the ascent.
        ascent: what d* maximises: "ce", or "divergence", which has no slope at d = 0 and so needs
            the random start.
        stop_at_flip: whether a sample takes no further step once its label is lost.
        schedule: what grows linearly with the training's progress: "epsilon" or "k" from 0 to its
            value, or "constant".
        ramp: share of the training after which it has its value.
        ranking: "saliency", or "random" as a control.
        norm: "linf"; the constraint knows no other.
        random_start: whether d starts uniformly inside the budget and the bounds, or at 0.

    >>> SCAAT(4 / 255, constraint="hard", k=0.8)
    SCAAT(constraint='hard', k=0.8)
    """

    epsilon: float = 4 / 255
    constraint: Constraint = field(default="soft", kw_only=True)
    k: Count = field(default=0.5, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    divergence: Divergence = field(default="kl", kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    steps: int = field(default=5, kw_only=True)
    ascent: Ascent = field(default="ce", kw_only=True)
    stop_at_flip: bool = field(default=False, kw_only=True)
    schedule: Schedule = field(default="constant", kw_only=True)
    ramp: float = field(default=0.5, kw_only=True)
    ranking: Ranking = field(default="saliency", kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.moved(batch)
        clean, there = batch.logits(batch.inputs), batch.logits(moved)
        apart = divergence(self.divergence, clean, there, batch.labels).mean()
        label = cross_entropy(clean, batch.labels)
        return Parts({"clean": (1.0, label), "divergence": (self.weight, apart)})

    def grows(self) -> bool:
        """Whether epsilon or k grows with the training done."""
        return self.schedule != "constant"

    def moved(self, batch: Batch) -> Tensor:
        """The perturbed inputs x + d*, (N, ...)."""
        box = around(batch, self.budget())
        with eval_mode(batch.model):
            logits, saliency = self._look(batch)
            room = spread(self.room(saliency, batch.progress), batch)
            box = _narrowed(box, room)
            start = batch.inputs
            if self.random_start:
                start = torch.lerp(box.low, box.high, batch.uniform())

            def rise(points: Tensor) -> Tensor:
                return self._rise(batch, logits, points)

            return ascend(self.budget(), box, start, rise)

    def room(self, saliency: Tensor, progress: float = 1.0) -> Tensor:
        """eps_i of each place, from S (N, ...) of places; shaped like it."""
        grown = min(1.0, progress / self.ramp) if self.ramp else 1.0
        epsilon = self.epsilon * (grown if self.schedule == "epsilon" else 1.0)
        return epsilon * self._share(saliency, grown if self.schedule == "k" else 1.0)

    def _share(self, saliency: Tensor, grown: float) -> Tensor:
        if self.constraint == "uniform":
            return torch.ones_like(saliency)
        places = rows(saliency)
        if self.threshold is not None:
            limit = grown * self.threshold * places.amax(1, keepdim=True)
            left = (1 - places / limit).clamp_min(0).nan_to_num()
            share = (left > 0).to(left) if self.constraint == "hard" else left
        elif self.constraint == "hard":
            share = bottom(places, self.k, grown).to(places)
        else:
            share = 1 - (average(places) / max(1, places.shape[1] - 1)).to(places)
        return share.view_as(saliency).to(saliency)

    def _look(self, batch: Batch) -> tuple[Tensor | None, Tensor]:
        """Clean logits, where they are at hand or needed, and the S of places."""
        if self._salient:
            logits, saliency = logits_and_saliency(batch)
            return logits, saliency.abs()
        drawn = batch.uniform() if self.ranking == "random" else batch.inputs
        return self._clean(batch), reduce(drawn, "mean", batch.layout)

    def _clean(self, batch: Batch) -> Tensor | None:
        if self.ascent == "ce" or not self.steps:
            return None
        with torch.no_grad():
            return batch.logits(batch.inputs)

    @property
    def _salient(self) -> bool:
        return self.constraint != "uniform" and self.ranking == "saliency"

    def _rise(self, batch: Batch, clean: Tensor | None, points: Tensor) -> Tensor:
        logits = batch.logits(points)
        if self.ascent == "ce" or clean is None:
            value = gradients.class_scores(logits, batch.labels, "loss")
        else:
            value = divergence(self.divergence, clean, logits, batch.labels)
        # A value that is 0 has no slope, and a step along no slope goes nowhere.
        return value * (logits.argmax(1) == batch.labels) if self.stop_at_flip else value

    def passes(self) -> Passes:
        alone = not self._salient and self.ascent == "divergence" and self.steps > 0
        gradient = self.steps + int(self._salient)
        return Passes(forward=int(alone), input_gradient=gradient, parameters=2)

    def check(self) -> None:
        super().check()
        check_places(self.k)
        self._check_threshold()
        if not self.ramp >= 0:
            raise SurefootError(f"ramp={self.ramp!r}, expected a share of the training, at least 0")
        if self.norm != "linf":
            raise SurefootError(
                f"norm={self.norm!r}: SCAAT bounds each place by itself, which is norm='linf'"
            )
        if self.schedule == "k" and self.constraint != "hard" and self.threshold is None:
            raise SurefootError(
                f"schedule='k' with constraint={self.constraint!r}, which has no k; use 'epsilon'"
            )
        if self.ascent == "divergence" and self.divergence != "ce" and not self.random_start:
            raise SurefootError(
                f"ascent='divergence' with {self.divergence!r} has no slope at d = 0: set "
                "random_start=True or ascent='ce'"
            )

    def _check_threshold(self) -> None:
        if self.threshold is None:
            return
        if not is_weight(self.threshold):
            raise SurefootError(
                f"threshold={self.threshold!r}, expected a finite number >= 0, or None"
            )
        if self.constraint == "uniform":
            raise SurefootError(
                f"threshold={self.threshold!r} with constraint='uniform', which looks at no "
                "saliency; take 'soft' or 'hard', or threshold=None"
            )


def _narrowed(box: Box, room: Tensor) -> Box:
    """The box of each sample cut to the budgets of its places."""
    return replace(box, low=box.clip(box.centre - room), high=box.clip(box.centre + room))
