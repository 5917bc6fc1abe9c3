"""Attributional adversarial training: maps are trained where an attack has moved them furthest."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from surefoot.attack import smooth
from surefoot.errors import SurefootError
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cosine_distance, cross_entropy
from surefoot.train._igr import IGR
from surefoot.train._inner import around, ascend, random_point
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class AttributionalAT(IGR):
    """c CE(x) + (1 - c) L_robust + lambda mean max (1 - cos(IG(x), IG(x'))), an objective of ours.

    IGR compares maps where the attack on the *prediction* ended; here x' is found by an attack on
    that very cosine, in the same ball, so that training meets what is measured afterwards. The
    idea of a worst map inside the loss is that of FAR's attributional adversarial training
    (Ivankay et al., arXiv 2010.07393, abstract; their code was not found). The form is this
    project's: cosine, the smooth twin in which x' is looked for (ReLU's own second derivative is
    zero almost everywhere), the share of clean cross-entropy, and all defaults. Terms: `clean`,
    those of the robust loss, `cosine` (1 - cos at x').

    Args:
        robust: the robust loss, `PGD` or `TRADES`; its ball and bounds are the map attack's, too.
        weight: lambda.
        points: m of the integrated gradients, inside the attack, too.
        clean: c, the share of the cross-entropy at x; the rest is the robust loss's.
        steps: of the attack on the map, from a random start.
        step_size: of it; None is 2.5 epsilon / steps.
        beta: of the softplus that stands in for ReLU and its relatives inside the attack; None
            takes the model as it is, which must then be smooth.

    >>> from surefoot.train import PGD
    >>> AttributionalAT(PGD(0.1, steps=5), weight=15)
    AttributionalAT(PGD(epsilon=0.1, steps=5), weight=15, score='logit')
    """

    weight: float = field(default=5.0, kw_only=True)
    points: int = field(default=3, kw_only=True)
    clean: float = field(default=0.5, kw_only=True)
    steps: int = field(default=3, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    beta: float | None = field(default=20.0, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        robust, moved = self.robust.moved(batch), self.moved(batch)
        logits, here = self._integrated(batch, batch.inputs)
        _, there = self._integrated(batch, moved)
        terms = {
            name: ((1 - self.clean) * weight, term)
            for name, (weight, term) in self.robust.terms(
                batch.labels, logits, batch.logits(robust)
            ).items()
        }
        already, _ = terms.get("clean", (0.0, None))
        terms["clean"] = (self.clean + already, cross_entropy(logits, batch.labels))
        terms["cosine"] = (self.weight, cosine_distance(here, there).mean())
        return Parts(terms)

    def moved(self, batch: Batch) -> Tensor:
        """The x' of the attack on the map, (N, ...)."""
        size = 2.5 * self.robust.epsilon / max(1, self.steps)
        budget = replace(
            self.robust.budget(),
            steps=self.steps,
            step_size=size if self.step_size is None else self.step_size,
        )
        box = around(batch, budget)
        start = random_point(batch, budget, box)
        twin = batch.model if self.beta is None else smooth(batch.model, self.beta)
        with eval_mode(batch.model):
            smoothed = replace(batch, model=twin)
            here = self._integrated(smoothed, batch.inputs)[1].detach()
            return ascend(
                budget,
                box,
                start,
                lambda points: cosine_distance(here, self._integrated(smoothed, points)[1]),
            )

    def passes(self) -> Passes:
        own = Passes(input_gradient=self.points) + self.steps * self.points * Passes(
            second_inputs=1
        )
        return super().passes() + own + Passes(parameters=1)

    def check(self) -> None:
        super().check()
        if not 0 <= self.clean <= 1:
            raise SurefootError(f"clean={self.clean!r}, expected a share, in [0, 1]")
        if self.beta is not None and not self.beta > 0:
            raise SurefootError(f"beta={self.beta!r}, expected a positive number, or None")
