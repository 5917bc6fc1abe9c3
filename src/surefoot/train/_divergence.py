"""Cross-entropy, and how far predictions or maps at two inputs are apart."""

from typing import Literal, get_args

import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from surefoot import checks
from surefoot.errors import SurefootError

Divergence = Literal["kl", "js", "ce"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y, the mean over the batch; raises where a label is not a class."""
    checks.check_target_range(labels, logits, "labels")
    return F.cross_entropy(logits, labels)


def divergence(kind: Divergence, clean: Tensor, moved: Tensor, labels: Tensor) -> Tensor:
    """How far the predictions at moved inputs are from the clean ones, (N,).

    "kl" is KL(p(x) || p(x')), "js" the Jensen-Shannon divergence with natural logarithm, in
    [0, log 2], "ce" the cross-entropy -log p_y(x'), which does not look at `clean`.

    Args:
        kind: the divergence.
        clean: logits (N, K) at x; the gradient flows through them, too.
        moved: logits (N, K) at x'.
        labels: (N,).
    """
    if kind not in get_args(Divergence):
        raise SurefootError(f"divergence={kind!r}, choose one of {list(get_args(Divergence))}")
    if kind == "ce":
        return F.cross_entropy(moved, labels, reduction="none")
    p, q = clean.log_softmax(1), moved.log_softmax(1)
    if kind == "kl":
        return _kl(p, q)
    middle = p.logaddexp(q) - p.new_tensor(2.0).log()
    return (_kl(p, middle) + _kl(q, middle)) / 2


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos(a, b) over one whole map of each sample, (N,)."""
    return 1 - F.cosine_similarity(a.flatten(1), b.flatten(1))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(exp p || exp q) of log-probabilities, (N,)."""
    return (p.exp() * (p - q)).sum(1)
