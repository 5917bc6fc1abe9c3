"""Bounds of a score's derivative in the logits, from bounds of the logits."""

from typing import get_args

import torch
from torch import Tensor

from surefoot.certify._interval import Interval, Rounding, product
from surefoot.errors import SurefootError
from surefoot.gradients import Score

_ULPS = 32  # of a softmax, beside the error of its sum


def seeds(score: Score, logits: Interval, target: Tensor, rounding: Rounding) -> Interval:
    """Of the target's score by each logit, (N, K); see `gradients.all_scores`."""
    ours = torch.nn.functional.one_hot(target, logits.low.shape[1]).to(logits.low)
    if not isinstance(score, str) or score not in get_args(Score):
        raise SurefootError(f"score={score!r} is unknown; choose one of {list(get_args(Score))}")
    if score == "logit":
        return Interval(ours, ours)
    if score == "margin":
        return _margin(logits, ours)
    p = _probabilities(logits, rounding)
    slack = rounding.u * _ULPS
    away = Interval(ours - p.high, ours - p.low).widened(slack)
    if score == "log_probability":
        return away
    if score == "loss":
        return Interval(-away.high, -away.low)
    mine = Interval(*((end * ours).sum(1, keepdim=True) for end in p))
    return product(mine, away, rounding).widened(slack)


def _probabilities(logits: Interval, rounding: Rounding) -> Interval:
    """Softmax: a class is least likely where its logit is least and all others are largest."""
    top = logits.high.amax(1, keepdim=True)
    low, high = (logits.low - top).exp(), (logits.high - top).exp()
    others_high = high.sum(1, keepdim=True) - high
    others_low = low.sum(1, keepdim=True) - low
    found = Interval(low / (low + others_high), high / (high + others_low).clamp_min(1e-300))
    slack = rounding.u * (_ULPS + low.shape[1] + float(logits.size.max()))
    wide = found.widened(slack)
    return Interval(wide.low.clamp_min(0), wide.high.clamp_max(1))


def _margin(logits: Interval, ours: Tensor) -> Interval:
    """Plus the target, minus whichever other class is largest."""
    low, high = (torch.where(ours > 0, -torch.inf, end) for end in logits)
    possible = (high >= low.amax(1, keepdim=True)) & (ours == 0)
    alone = possible.sum(1, keepdim=True) == 1
    return Interval(ours - possible.double(), ours - (possible & alone).double())
