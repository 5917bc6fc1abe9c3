"""Whether larger attributions go with larger changes of the score."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, draws
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import Count, Layout, average, count, ordinal, result_type, rows, wide
from surefoot.metric._baselines import Baseline
from surefoot.metric._evaluate import Grid, grid
from surefoot.metric._kinds import MODEL_ATTRIBUTIONS, SIGNED, UP
from surefoot.metric._noise import given_or_drawn
from surefoot.metric._registry import measure
from surefoot.metric._similarity import correlation


@measure(MODEL_ATTRIBUTIONS, SIGNED, UP)
def faithfulness_correlation(
    model: nn.Module,
    images: Tensor,
    attributions: Tensor,
    target: checks.Target = None,
    *,
    size: Count = 0.1,
    runs: int = 100,
    baseline: Baseline = "black",
    score: Score = "logit",
    seed: int = 0,
    subsets: Tensor | None = None,
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Correlation of a subset's attributions with the drop when it goes; higher is better.

    Pearson over random subsets S of the places, |S| fixed, of sum_S a and F(x) - F(x without S)
    (Bhatt et al., arXiv 2005.00631, Eq. 4). All samples share the subsets.

    Args:
        attributions: signed, one a place, (N, H, W), or one an entry, shaped like the images.
        size: |S|, places in a subset, or their share if a float below 1 (the default is this
            project's choice).
        runs: number of subsets.
        seed: of the subsets.
        subsets: bool (M, ...), each shaped like one map, instead of drawn ones.

    Returns:
        (N,) in [-1, 1]; NaN where the sums or the drops are all alike.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a map that does not fit,
            a target out of range, an unknown baseline, `size` out of range, fewer than 2 subsets,
            or subsets that do not fit the map.

    >>> model = nn.Linear(3, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))
    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> faithfulness_correlation(model, x, x * model.weight.detach()[:1], 0, size=1)
    tensor([1.])
    """
    asked = grid(model, images, target, extra, chunk, layout)
    shape = asked.place_shape(attributions, "attributions")
    chosen = (
        _subsets(attributions, size, runs, seed)
        if subsets is None
        else _given(subsets, attributions)
    )
    start = asked.baseline(baseline, attributions)
    gone = chosen.view(len(chosen), *shape)

    def points(block: Block) -> Tensor:
        removed = gone[None, block.variants]
        return torch.where(removed, start[block.samples, None], images[block.samples, None])

    left = asked.scores(len(chosen), points, score)
    flat = wide(attributions)
    sums = torch.stack([flat[:, subset].sum(1) for subset in chosen], 1)
    # F(x) is the same for all subsets, so the drop correlates as -F(x without S) does.
    return correlation(sums, wide(-left)).to(result_type(images))


_MOST = 2**36


def _subsets(a: Tensor, size: Count, runs: int, seed: int) -> Tensor:
    """`runs` random subsets of the entries of one map, bool (runs, n)."""
    if runs < 2:
        raise SurefootError(f"runs={runs}, expected at least 2: one point has no correlation")
    entries = a[0].numel()
    if runs * entries > _MOST:
        raise SurefootError(f"runs={runs} subsets of {entries} places are more than fit in memory")
    picked = torch.zeros(runs, entries, dtype=torch.bool)
    for run in range(runs):
        order = torch.randperm(entries, generator=draws.generator(seed, run))
        picked[run, order[: count(size, entries, "size")]] = True
    return picked.to(a.device)


def _given(subsets: Tensor, a: Tensor) -> Tensor:
    fits = isinstance(subsets, Tensor) and subsets.dtype == torch.bool and subsets.ndim >= 2
    if not fits or len(subsets) < 2 or subsets[0].numel() != a[0].numel():
        raise SurefootError(
            f"subsets are {tuple(getattr(subsets, 'shape', ()))} "
            f"{getattr(subsets, 'dtype', type(subsets).__name__)}, expected a bool tensor "
            f"(M, {', '.join(map(str, a.shape[1:]))}) with M >= 2"
        )
    return subsets.flatten(1).to(a.device)


@measure(MODEL_ATTRIBUTIONS, SIGNED, UP)
def monotonicity_correlation(
    model: nn.Module,
    images: Tensor,
    attributions: Tensor,
    target: checks.Target = None,
    *,
    groups: int | None = None,
    samples: int = 10,
    score: Score = "probability",
    seed: int = 0,
    noise: Tensor | None = None,
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Rank correlation of attributions with what is lost without them; higher is better.

    Spearman over groups g of the places of sum_g a and mean_j (F(x with g from noise j) - F(x))^2
    (Nguyen & Martinez, arXiv 2007.07584, 2.3; their division by F(x)^2 changes no rank). The
    groups are cut from the places in ascending order of the attributions, as evenly as possible.

    Args:
        attributions: one a place or shaped like the images; the source takes absolutes.
        groups: number of groups; None takes 32, or as many as there are places.
        samples: noise draws for each group, uniform in [0, 1), shared by all samples and groups.
        seed: of the noise.
        noise: (M, ...), each shaped like one image, instead of drawn ones.

    Returns:
        (N,) in [-1, 1]; NaN where the sums or the losses are all alike.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a map that does not fit,
            a target out of range, fewer than 2 groups or more than places, or noise of another
            shape.

    >>> model = nn.Linear(3, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 10.0, 100.0], [0.0, 0.0, 0.0]]))
    >>> x = torch.ones(1, 3)
    >>> monotonicity_correlation(model, x, x * model.weight.detach()[:1], 0, score="logit")
    tensor([1.])
    """
    asked = grid(model, images, target, extra, chunk, layout)
    shape = asked.place_shape(attributions, "attributions")
    entries = attributions[0].numel()
    groups = min(32, entries) if groups is None else groups
    if entries < 2:
        raise SurefootError("a map of one place has no groups, expected at least 2 places")
    if not 2 <= groups <= entries:
        raise SurefootError(f"groups={groups}, expected 2 to {entries}, the places of a map")
    drawn = given_or_drawn(noise, images, samples, lambda some: draws.uniform(seed, some, images))
    fill = drawn.draw(slice(0, drawn.count))
    group = (ordinal(-rows(attributions)) * groups).div(entries, rounding_mode="floor")
    placed = group.view(len(images), *shape)
    loss = _squared_changes(asked, placed, groups, fill, score)
    sums = wide(attributions).new_zeros(len(images), groups)
    sums = sums.scatter_add_(1, group, wide(attributions.detach()))
    return correlation(average(sums), average(loss)).to(result_type(images))


def _squared_changes(
    asked: Grid, group: Tensor, groups: int, noise: Tensor, score: Score
) -> Tensor:
    """Mean squared change of the score when a group's places come from the noise, (N, G)."""
    images = asked.images
    each = [torch.arange(n, device=images.device) for n in (groups, len(noise))]
    place, turn = torch.cartesian_prod(*each).T

    def points(block: Block) -> Tensor:
        here = place[block.variants].view(-1, *[1] * (images.ndim - 1))
        fill = noise[turn[block.variants]]
        return torch.where(group[block.samples, None] == here, fill, images[block.samples, None])

    changed = asked.scores(len(place), points, score)
    change = (changed - asked.unchanged(score)).square()
    return change.view(len(images), groups, -1).mean(2)
