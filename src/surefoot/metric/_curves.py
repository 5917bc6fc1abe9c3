"""Perturbation curves: places go one after another, and the score is followed.

Samek et al., arXiv 1509.06321 (MoRF, LeRF, AOPC); Petsiuk et al. (RISE), arXiv 1806.07421 (deletion
and insertion). A curve is made from one sort: a place is changed at a step if its rank is below
the step's count.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surefoot import checks, draws
from surefoot.gradients import Score
from surefoot.maps import Layout, check_map, rows
from surefoot.metric._baselines import Baseline
from surefoot.metric._evaluate import Grid, grid
from surefoot.metric._removal import Order, Removal, even_counts, places


class Curve(NamedTuple):
    """The score while places are changed.

    Attributes:
        share: (S + 1,), share of the places changed at each point, from 0.
        score: (N, S + 1).

    >>> curve = Curve(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[1.0, 0.5, 0.0]]))
    >>> curve.area(), curve.aopc()
    (tensor([0.5000]), tensor([0.5000]))
    """

    share: Tensor
    score: Tensor

    def area(self) -> Tensor:
        """Area under the score by the trapezoid rule, over the span of shares, (N,)."""
        area = torch.trapezoid(self.score, self.share.to(self.score), dim=1)
        return area / self.share[-1].to(self.score)

    def aopc(self) -> Tensor:
        """1 / (S + 1) sum over points of the first score minus the point's, (N,)."""
        return (self.score[:, :1] - self.score).mean(1)


def perturbation_curve(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    order: Order = "morf",
    baseline: Baseline = "mean",
    steps: int | None = None,
    share: float = 1.0,
    region: int = 1,
    reveal: bool = False,
    score: Score = "probability",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Curve:
    """The score of the target while places are replaced by a baseline, or revealed from it.

    Ties: of equal places the one with the lower flat index goes first, in both orders.

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        h: maps, (N, H, W) for images, (N, L) for signals, (N, T) for tokens, or shaped like the
            inputs; signs count.
        target: class index, one for each sample, or None for the class predicted for the images.
        order: "morf", most relevant first, or "lerf", least relevant first. For a control in
            random order give `random_map(h)` as the map.
        baseline: "mean" (each channel's over its image), "blur" (Gaussian, sigma 5 pixels),
            "black" (0), "noise" (uniform in [0, 1); `metric.noise(seed, low, high)` for another),
            a number, a tensor that broadcasts to the images, or a callable that maps them to one.
        steps: number of steps S; None takes 32, or as many as there are places to change.
        share: of all places changed in the end, in (0, 1].
        region: side of the square patches that go together, ordered by the sum of `h` in them;
            1 is single pixels. Those at the right and lower border may be smaller.
        reveal: start from the baseline and bring the image back instead.
        score: what is followed, see `explain.Gradient`.
        extra: further arguments of the model, see calling an explainer.
        layout: what the axes of the images mean, where neither the model nor the map tells.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        `Curve` of shares (S + 1,) and scores (N, S + 1), the unchanged start included.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a map that does not fit,
            a target out of range, an unknown baseline or order, steps, share or region that do
            not fit the map.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> perturbation_curve(model, x, h, 0, baseline="black", score="logit")
    Curve(share=tensor([0.0000, 0.5000, 1.0000]), score=tensor([[2., 0., 0.]]))
    """
    asked = grid(model, images, target, extra, chunk, layout)
    return curve(
        step_by_step(asked, h, baseline, score, steps, share, region), order, reveal=reveal
    )


def step_by_step(
    asked: Grid,
    h: Tensor,
    baseline: Baseline,
    score: Score,
    steps: int | None,
    share: float = 1.0,
    region: int = 1,
) -> Removal:
    """The removal of a curve's places in even steps."""
    counts = even_counts(h, steps, share, region)
    return Removal(asked, h, counts, asked.baseline(baseline, h), score, region)


def curve(removal: Removal, order: Order = "morf", *, reveal: bool = False) -> Curve:
    """The curve of a removal, or of the way back."""
    share = removal.counts / places(removal.h, removal.region)
    return Curve(share, removal.scores(order, keep=reveal))


def random_map(h: Tensor, *, seed: int = 0) -> Tensor:
    """A map that ranks the places at random, the same for all samples: the control of a curve.

    Args:
        h: maps (N, ...); only their shape and dtype are used.
        seed: of the order.

    Returns:
        Maps shaped like `h`, uniform in [0, 1).

    >>> control = random_map(torch.zeros(2, 4, 4))
    >>> bool((control[0] == control[1]).all())
    True
    """
    check_map(h, "h")
    return draws.uniform(seed, slice(0, 1), rows(h)).expand(len(h), -1).reshape(h.shape)
