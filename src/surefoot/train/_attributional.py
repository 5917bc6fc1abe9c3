"""CACR + WACR: attributional-robustness training (Sarkar et al., AAAI 2021, arXiv 2012.14395)."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from surefoot.train import _paths
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._ig_norm import PathAdversarial
from surefoot.train._passes import Passes
from surefoot.train._regularizers import Temperature, cacr, wacr

Label = Literal["adversarial", "clean"]


@dataclass(frozen=True, repr=False)
class AttributionalRegularizers(PathAdversarial):
    """min CE(f(x'), y) + lambda (L_CACR + L_WACR), x' from the attack of IG-SUM-NORM.

    From the released code, where x' maximises CE(f(x'), y) + lambda ||G_approx||_1, and with
    right sums of m points, probability p, baseline x0 and the runner-up c(z) chosen anew at each
    point:

    - B = (x - x0) * 1/m sum_k grad p_y, from x0 to x;
    - C = -G, G = (x' - x) * 1/m sum_k grad(-log p_y), from x to x';
    - TCA, NCA = (x' - x0) * 1/m sum_k grad p_y, grad p_c, from x0 to x';
    - `cacr` and `wacr` as in the functions of these names.

    Every term is a mean over the batch where the released code sums (factor 1/N). The released
    weight decay, 2e-4 sum ||W||^2 / 2, belongs to the optimiser (lr and decay of the summed loss
    relate to the mean's by N). The clip of p at 1e-10 is left out. Defaults are those of the
    configuration that the released training script reads (Flower: lambda 0.1, m 20, approx 4),
    but for step_size: there it is 2/255, here 2.5 epsilon / steps, which is 2.86/255.
    Terms: `adversarial` or `clean`, `cacr`, `wacr`; a regulariser of weight 0 costs nothing.

    Args:
        weight: lambda, of both regularisers and of the attack's norm.
        cacr_weight: of CACR alone; None is lambda.
        wacr_weight: of WACR alone; None is lambda.
        temperature: of CACR's softmax: 1 as released, a number, or "auto", see `cacr`.
        label: "adversarial", CE at x' ("adv_ar" in the released code), or "clean", CE at x ("ar").
        baseline: x0, one number (0 as released).
        points: m.
        attack_points: of G_approx (m / approx_factor of the released code).

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = AttributionalRegularizers(0.1, steps=2)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['adversarial', 'cacr', 'wacr']
    """

    weight: float = field(default=0.1, kw_only=True)
    cacr_weight: float | None = field(default=None, kw_only=True)
    wacr_weight: float | None = field(default=None, kw_only=True)
    temperature: Temperature = field(default=1.0, kw_only=True)
    label: Label = field(default="adversarial", kw_only=True)
    baseline: float = field(default=0.0, kw_only=True)
    points: int = field(default=20, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.stretched(batch, loss=1.0, norm=self.weight)
        skew, weigh = self._weights
        terms: dict[str, tuple[float, Tensor]] = {}
        logits = None
        if skew:
            logits, value = self._cacr(batch, moved)
            terms["cacr"] = (skew, value)
        if weigh:
            logits, value = self._wacr(batch, moved)
            terms["wacr"] = (weigh, value)
        return Parts({self.label: (1.0, self._cross_entropy(batch, moved, logits)), **terms})

    @property
    def _weights(self) -> tuple[float, float]:
        skew = self.weight if self.cacr_weight is None else self.cacr_weight
        weigh = self.weight if self.wacr_weight is None else self.wacr_weight
        return skew, weigh

    def _cross_entropy(self, batch: Batch, moved: Tensor, logits: Tensor | None) -> Tensor:
        """The label's term; the logits at x' are those of a path that ended there, if any did."""
        if self.label == "clean":
            logits = batch.logits(batch.inputs)
        elif logits is None:
            logits = batch.logits(moved)
        return cross_entropy(logits, batch.labels)

    def _cacr(self, batch: Batch, moved: Tensor) -> tuple[Tensor, Tensor]:
        both = (_paths.probability, _paths.other_probability)
        logits, (TCA, NCA) = self._from_baseline(batch, moved, *both)
        return logits, cacr(TCA, NCA, self.temperature, batch.layout).mean()

    def _wacr(self, batch: Batch, moved: Tensor) -> tuple[Tensor, Tensor]:
        _, (B,) = self._from_baseline(batch, batch.inputs, _paths.probability)
        logits, G = self.change(batch, moved, self.points)
        return logits, wacr(B, -G).mean()

    def _from_baseline(
        self, batch: Batch, end: Tensor, *scores: _paths.RowScore
    ) -> tuple[Tensor, list[Tensor]]:
        start = torch.full_like(batch.inputs, self.baseline)
        request = batch.request(start, create_graph=True)
        return _paths.along(request, end, self.points, *scores, chunk=self.chunk)

    def passes(self) -> Passes:
        skew, weigh = self._weights
        m = self.points
        total = self.attack_passes()
        if skew:
            total += Passes(second_parameters=2 * m, forward=-m)
        if weigh:
            total += Passes(second_parameters=2 * m)
        alone = self.label == "clean" or not (skew or weigh)
        return total + Passes(parameters=int(alone))
