"""Whether what the map marks is what the model uses: keep or remove it and ask the model."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Query, Score
from surefoot.maps import ordinal, rows
from surefoot.metric._baselines import Baseline, resolve
from surefoot.metric._evaluate import over_grid, place_shape, scores

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


def saliency_fidelity(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    denominator: Literal["one", "mean"] = "one",
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """SF: how much of the prediction survives when the image is seen through its map; lower better.

    SF = -ln F(h * x) with `denominator="one"`, or -ln [F(h * x) / F(mean(h) * x)] with "mean",
    F the target's probability (Dabkowski & Gal, arXiv 1705.07857; DANCE, arXiv 2002.00526, 4.2).
    The ratio gives every constant map 0. The formula's print in DANCE does not show which of the
    two it means: the text subtracts the mean saliency, yet no published value is negative. Report
    both.

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...), where 0 means nothing (pixel space).
        h: maps in [0, 1], (N, H, W) for images, or shaped like them: `explain.heatmap`.
        target: class index, one for each sample, or None for the class predicted for the images.
        denominator: "one" or "mean".
        extra: further keyword inputs of the model, each with leading dimension N.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        (N,): nats, in [0, inf) for "one", any sign for "mean".

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a map of another shape
            or outside [0, 1], a target out of range, an unknown denominator.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> saliency_fidelity(model, x, h)
    tensor([0.1269])
    >>> saliency_fidelity(model, x, torch.ones(1, 2), denominator="mean")
    tensor([0.])
    """
    if denominator not in ("one", "mean"):
        raise SurefootError(f'denominator={denominator!r}, expected "one" or "mean"')
    request = gradients.query(model, images, target, extra, create_graph=False)
    shape = place_shape(h, images)
    if (h < 0).any() or (h > 1).any():
        raise SurefootError(
            f"h spans [{h.min():.4g}, {h.max():.4g}], expected maps in [0, 1]: explain.heatmap(a)"
        )
    flat = rows(h).to(images.dtype)
    masks = torch.stack([flat, flat.mean(1, keepdim=True).expand_as(flat)], 1)
    masks = masks.view(len(h), 2, *shape)

    def compute(block: Block) -> Tensor:
        points = images[block.samples, None] * masks[block.samples, block.variants]
        return scores(request, block.samples, points, "log_probability")

    log_p = over_grid(request, 1 if denominator == "one" else 2, compute, chunk)
    return -log_p[:, 0] if denominator == "one" else log_p[:, 1] - log_p[:, 0]


def comprehensiveness(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    shares: Sequence[float] = SHARES,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """How much of the score goes when the most salient places go; higher is better.

    mean over shares of F(x) - F(x without its top share) (ERASER, arXiv 1911.03429, section 4.2,
    with its shares). Ties as in `topk_intersection`.

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        h: maps, (N, H, W) for images, (N, T) for tokens, or shaped like the inputs.
        target: class index, one for each sample, or None for the class predicted for the images.
        shares: of the places, each in (0, 1).
        baseline: what replaces a removed place: "mean", "blur", "black", "noise", a number, a
            tensor or a callable (see `perturbation_curve`).
        score: F, see `explain.Gradient`.
        extra: further keyword inputs of the model, each with leading dimension N.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        (N,), in [-1, 1] for probabilities.

    Raises:
        SurefootError: as `saliency_fidelity`, or a share outside (0, 1).

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> comprehensiveness(model, x, h, shares=[0.5], baseline="black", score="logit")
    tensor([2.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    lost = removal_scores(
        request, h, shares, baseline=baseline, score=score, chunk=chunk, keep=False
    )
    return (lost[:, :1] - lost[:, 1:]).mean(1)


def sufficiency(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    shares: Sequence[float] = SHARES,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """How much of the score goes when only the most salient places stay; lower is better.

    mean over shares of F(x) - F(only the top share of x) (ERASER, arXiv 1911.03429, section 4.2,
    with its shares). Arguments, range and errors are those of `comprehensiveness`.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> sufficiency(model, x, h, shares=[0.5], baseline="black", score="logit")
    tensor([0.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    left = removal_scores(
        request, h, shares, baseline=baseline, score=score, chunk=chunk, keep=True
    )
    return (left[:, :1] - left[:, 1:]).mean(1)


def removal_scores(
    request: Query,
    h: Tensor,
    shares: Sequence[float],
    *,
    baseline: Baseline,
    score: Score,
    chunk: int | None,
    keep: bool,
) -> Tensor:
    """The score of the image, then with each top share removed (or alone kept), (N, 1 + S)."""
    images = request.inputs
    rank, counts = share_ranks(h, images, shares)
    start = resolve(baseline, images)
    counts = torch.cat([counts.new_tensor([h[0].numel() if keep else 0]), counts])

    def compute(block: Block) -> Tensor:
        top = rank[block.samples, None] < counts[block.variants].view(-1, *[1] * (images.ndim - 1))
        stays = top if keep else ~top
        points = torch.where(stays, images[block.samples, None], start[block.samples, None])
        return scores(request, block.samples, points, score)

    return over_grid(request, len(counts), compute, chunk)


def share_ranks(h: Tensor, images: Tensor, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Ranks of the places, broadcasting to the images, and how many places each share is."""
    if not shares or not all(0 < share < 1 for share in shares):
        raise SurefootError(f"shares={shares}, expected one or more numbers in (0, 1)")
    rank = ordinal(rows(h)).view(len(h), *place_shape(h, images))
    entries = h[0].numel()
    counts = [min(max(1, round(share * entries)), entries - 1) for share in shares]
    return rank, torch.tensor(counts, device=h.device)
