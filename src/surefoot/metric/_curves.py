"""Perturbation curves: places go one after another, and the score is followed.

Samek et al., arXiv 1509.06321 (MoRF, LeRF, AOPC); Petsiuk et al. (RISE), arXiv 1806.07421 (deletion
and insertion). A curve is made from one sort: a place is changed at a step if its rank is below
the step's count.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot import checks, draws, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import check_grid, check_map, ordinal, rows
from surefoot.metric._baselines import Baseline, resolve
from surefoot.metric._evaluate import over_grid, place_shape, scores

Order = Literal["morf", "lerf"]


class Curve(NamedTuple):
    """The score while places are changed.

    Attributes:
        share: (S + 1,), share of the places changed at each point, from 0.
        score: (N, S + 1).
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
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Curve:
    """The score of the target while places are replaced by a baseline, or revealed from it.

    Ties: of equal places the one with the lower flat index goes first, in both orders.

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        h: maps, (N, H, W) for images, (N, T) for tokens, or shaped like the inputs; signs count.
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
        extra: further keyword inputs of the model, each with leading dimension N.
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
    request = gradients.query(model, images, target, extra, create_graph=False)
    rank, places = _ranks(h, images, order, region)
    counts = _counts(places, steps, share).to(images.device)
    start, end = images, resolve(baseline, images)
    if reveal:
        start, end = end, start

    def compute(block: Block) -> Tensor:
        limit = counts[block.variants].view(-1, *[1] * (images.ndim - 1))
        changed = rank[block.samples, None] < limit
        points = torch.where(changed, end[block.samples, None], start[block.samples, None])
        return scores(request, block.samples, points, score)

    return Curve(counts / places, over_grid(request, len(counts), compute, chunk))


def _ranks(h: Tensor, images: Tensor, order: Order, region: int) -> tuple[Tensor, int]:
    """The step at which each place goes, broadcasting to the images, and their number."""
    if order not in ("morf", "lerf"):
        raise SurefootError(f'order={order!r}, expected "morf" or "lerf"')
    shape = place_shape(h, images)
    sign = 1 if order == "morf" else -1
    if region == 1:
        rank = ordinal(sign * rows(h))
        return rank.view(len(h), *shape), rank.shape[1]
    sums = _region_sums(check_grid(h, "h"), region)
    rank = ordinal(sign * sums.flatten(1)).view_as(sums)
    spread = rank.repeat_interleave(region, 1).repeat_interleave(region, 2)
    return spread[:, None, : h.shape[1], : h.shape[2]], sums[0].numel()


def _region_sums(h: Tensor, region: int) -> Tensor:
    """Sums of maps (N, H, W) over patches, (N, rows of patches, columns of patches)."""
    height, width = h.shape[1:]
    if not 1 <= region <= min(height, width):
        raise SurefootError(f"region={region}, expected 1 to {min(height, width)} pixels")
    padded = functional.pad(rows(h).view_as(h), [0, -width % region, 0, -height % region])
    down, across = padded.shape[1] // region, padded.shape[2] // region
    return padded.view(len(h), down, region, across, region).sum((2, 4))


def _counts(places: int, steps: int | None, share: float) -> Tensor:
    """How many places are changed at each point, (S + 1,)."""
    if not 0 < share <= 1:
        raise SurefootError(f"share={share}, expected a share of the places in (0, 1]")
    last = max(1, round(share * places))
    steps = min(32, last) if steps is None else steps
    if not 1 <= steps <= last:
        raise SurefootError(
            f"steps={steps}, expected 1 to {last}: the number of places (or regions) to change"
        )
    return torch.linspace(0, last, steps + 1, dtype=torch.float64).round().long()


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
