"""IGR: Integrated Gradients Regularisation (Wang, Kong, arXiv 2205.07279)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.train import _paths
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cosine_distance
from surefoot.train._passes import Passes
from surefoot.train._pgd import PGD
from surefoot.train._robust import Robust


@dataclass(frozen=True, repr=False)
class IGR(Objective):
    """L_robust + lambda mean(1 - cos(IG(x), IG(x~))), x~ that of the robust loss's own attack.

    From the abstract, and from a third-party replication, which says that the paper gives no
    lambda and uses 1; no code of the authors was found. IG is taken from the baseline to x with
    right sums, so that the robust loss needs no passes of its own. Score, baseline and number of
    points are this project's choice, and so are the robust losses on offer (the paper's MART is
    not among them). Terms: those of the robust loss, `cosine` (1 - cos).

    Args:
        robust: the robust loss, `PGD` or `TRADES`.
        weight: lambda.
        points: m of the integrated gradients.
        baseline: where they start, one number.
        score: what they integrate, of the label's class.
        chunk: inputs sent through the model at once; None chooses. Not part of the recipe.

    >>> IGR(PGD(0.1), weight=0.5)
    IGR(PGD(epsilon=0.1), weight=0.5, score='logit')
    """

    robust: Robust = field(default_factory=PGD)
    weight: float = field(default=1.0, kw_only=True)
    points: int = field(default=10, kw_only=True)
    baseline: float = field(default=0.0, kw_only=True)
    score: Score = field(default="logit", kw_only=True)
    chunk: int | None = field(default=None, kw_only=True, repr=False, compare=False)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.robust.moved(batch)
        clean, a = self._integrated(batch, batch.inputs)
        there, b = self._integrated(batch, moved)
        apart = cosine_distance(a, b).mean()
        terms: Mapping[str, tuple[float, Tensor]] = self.robust.terms(batch.labels, clean, there)
        return Parts({**terms, "cosine": (self.weight, apart)})

    def _integrated(self, batch: Batch, end: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and integrated gradients at `end`."""
        start = torch.full_like(end, self.baseline)
        request = batch.request(start, create_graph=True)
        score = _paths.named(self.score)
        logits, (ig,) = _paths.along(request, end, self.points, score, chunk=self.chunk)
        return logits, ig

    def passes(self) -> Passes:
        attack = self.robust.passes() + Passes(parameters=-self.robust.passes().parameters)
        return attack + Passes(second_parameters=2 * self.points)

    def check(self) -> None:
        super().check()
        if not isinstance(self.robust, Robust):
            raise SurefootError(f"IGR's robust is {self.robust!r}, expected PGD or TRADES")
        self.robust.check()
