"""Whether what the map marks is what the model uses: keep or remove it and ask the model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.chunking import Block
from surefoot.errors import SurefootError
from surefoot.gradients import Score
from surefoot.maps import Layout, rows
from surefoot.metric._baselines import Baseline
from surefoot.metric._door import door
from surefoot.metric._evaluate import grid
from surefoot.metric._kinds import DOWN, MODEL_MAP, POSITIVE, SIGNED, UP
from surefoot.metric._registry import measure
from surefoot.metric._removal import Removal, share_counts

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@measure(MODEL_MAP, POSITIVE, DOWN)
def saliency_fidelity(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    denominator: Literal["one", "mean"] = "one",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Tensor:
    """SF: how much of the prediction survives when the image is seen through its map; lower better.

    SF = -ln F(h * x) with `denominator="one"`, or -ln [F(h * x) / F(mean(h) * x)] with "mean",
    F the target's probability (Dabkowski & Gal, arXiv 1705.07857; DANCE, arXiv 2002.00526, 4.2).
    The ratio gives every constant map 0. The formula's print in DANCE does not show which of the
    two it means: the text subtracts the mean saliency, yet no published value is negative. Report
    both.

    Args:
        images: floating point (N, ...), where 0 means nothing (pixel space).
        h: maps in [0, 1], (N, H, W) for images, or shaped like them: `explain.heatmap`.
        denominator: "one" or "mean".

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
    asked = grid(model, images, target, extra, chunk, layout)
    shape = asked.place_shape(h)
    if (h < 0).any() or (h > 1).any():
        raise SurefootError(
            f"h spans [{h.min():.4g}, {h.max():.4g}], expected maps in [0, 1]: explain.heatmap(a)"
        )
    flat = rows(h).to(images.dtype)
    masks = torch.stack([flat, flat.mean(1, keepdim=True).expand_as(flat)], 1)
    masks = masks.view(len(h), 2, *shape)

    def points(block: Block) -> Tensor:
        return images[block.samples, None] * masks[block.samples, block.variants]

    log_p = asked.scores(1 if denominator == "one" else 2, points, "log_probability")
    return -log_p[:, 0] if denominator == "one" else log_p[:, 1] - log_p[:, 0]


def _by_shares(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    shares: Sequence[float] = SHARES,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Removal:
    asked = grid(model, images, target, extra, chunk, layout)
    return Removal(asked, h, share_counts(h, shares), asked.baseline(baseline, h), score)


@measure(MODEL_MAP, SIGNED, UP)
@door(_by_shares)
def comprehensiveness(removal: Removal) -> Tensor:
    """How much of the score goes when the most salient places go; higher is better.

    mean over shares of F(x) - F(x without its top share) (ERASER, arXiv 1911.03429, section 4.2,
    with its shares). Ties as in `topk_intersection`.

    Returns:
        (N,), in [-1, 1] for probabilities.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> comprehensiveness(model, x, h, shares=[0.5], baseline="black", score="logit")
    tensor([2.])
    """
    return _drop(removal, keep=False)


@measure(MODEL_MAP, SIGNED, DOWN)
@door(_by_shares)
def sufficiency(removal: Removal) -> Tensor:
    """How much of the score goes when only the most salient places stay; lower is better.

    mean over shares of F(x) - F(only the top share of x) (ERASER, arXiv 1911.03429, section 4.2,
    with its shares). Ties as in `topk_intersection`.

    Returns:
        (N,), in [-1, 1] for probabilities.

    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> sufficiency(model, x, h, shares=[0.5], baseline="black", score="logit")
    tensor([0.])
    """
    return _drop(removal, keep=True)


def _drop(removal: Removal, *, keep: bool) -> Tensor:
    """F(x) minus the score without each share (or with it alone), the mean over shares, (N,)."""
    whole = removal.counts.new_tensor([removal.h[0].numel() if keep else 0])
    scores = replace(removal, counts=torch.cat([whole, removal.counts])).scores(keep=keep)
    return (scores[:, :1] - scores[:, 1:]).mean(1)
