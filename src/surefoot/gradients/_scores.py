"""What is differentiated: one number a sample, of its logits and its target class."""

import warnings
from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot import checks
from surefoot.errors import SurefootError, SurefootWarning

Score = Literal["logit", "probability", "log_probability", "loss", "margin"]

_SUMS_TO_1 = 1e-3


def single(logits: Tensor) -> Tensor:
    """Logits in single precision at least: in 16 bits probabilities do not even add up to 1."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def all_scores(logits: Tensor, score: Score) -> Tensor:
    """The named score of every class, (N, K).

    `logit` itself; `probability` softmax; `log_probability` its logarithm; `loss` cross-entropy
    with the class as label; `margin` the logit minus the largest other logit.

    >>> all_scores(torch.tensor([[3.0, 1.0, 0.0]]), "margin")
    tensor([[ 2., -2., -3.]])
    """
    if score == "logit":
        return logits
    if logits.shape[1] == 1:
        raise SurefootError(
            f"score={score!r} compares classes, but the model has one output; use "
            'score="logit", or surefoot.models.Classifier(model, output="binary") if it is one '
            "logit of two classes"
        )
    if score != "margin":
        warn_of_softmax(logits)
    if score == "probability":
        return logits.softmax(1)
    if score == "log_probability":
        return logits.log_softmax(1)
    if score == "loss":
        return -logits.log_softmax(1)
    if score == "margin":
        top = logits.topk(2, dim=1).values
        best, second = top[:, :1], top[:, 1:]
        leads = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).bool()
        return logits - torch.where(leads, second, best)
    raise SurefootError(f"score={score!r} is unknown; choose one of {list(get_args(Score))}")


def warn_of_softmax(logits: Tensor) -> None:
    """Say so where outputs look like probabilities: softmax would be taken twice."""
    rows = logits.detach()
    if rows.shape[1] < 2 or not bool((rows >= 0).all()):
        return
    if bool(((rows.sum(1) - 1).abs() < _SUMS_TO_1).all()):
        warnings.warn(
            "the model's outputs are not negative and each row sums to 1: they look like "
            "probabilities, and softmax of them is taken again. If the model ends in softmax, "
            'write surefoot.models.Classifier(model, output="probabilities")',
            SurefootWarning,
            stacklevel=2,
        )


def class_scores(logits: Tensor, target: Tensor, score: Score) -> Tensor:
    """The named score of each sample's target class, (N,)."""
    checks.check_target_range(target, logits)
    # Indexing saves only the indices for backward; gather would save the logits.
    return all_scores(logits, score)[torch.arange(len(target), device=target.device), target]
