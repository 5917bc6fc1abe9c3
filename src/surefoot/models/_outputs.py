"""What a network gives, by name: how logits (N, K) are made of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from surefoot.errors import SurefootError

Made = Callable[[Tensor], Tensor]


def binary(logit: Tensor) -> Tensor:
    """One logit z (N,) or (N, 1) of two classes as logits (-z / 2, z / 2), (N, 2).

    Their softmax is (1 - sigmoid(z), sigmoid(z)), their difference z.

    >>> binary(torch.tensor([[2.0]]))
    tensor([[-1.,  1.]])
    """
    half = _column(logit, "binary") / 2
    return torch.cat([-half, half], 1)


def _regression(value: Tensor) -> Tensor:
    """(N,) or (N, K), one number or several, none of them a class."""
    return value[:, None] if value.ndim == 1 else value


def _probabilities(share: Tensor) -> Tensor:
    """Logits whose softmax are probabilities (N, K), or whose sigmoid is one, (N,) or (N, 1)."""
    if (share < 0).any() or (share > 1).any():
        raise SurefootError(
            f'output="probabilities", but the outputs span [{share.min():.4g}, {share.max():.4g}]; '
            "leave output= out if they are logits"
        )
    tiny = torch.finfo(share.dtype).tiny
    if share.ndim == 1 or share.shape[1] == 1:
        return binary(share.clamp_min(tiny).log() - (1 - share).clamp_min(tiny).log())
    return share.clamp_min(tiny).log()


def _segmentation(scores: Tensor) -> Tensor:
    """Each class's mean over the places of (N, K, H, W) or (N, K, D, H, W)."""
    _check_rank(scores, "segmentation", "(N, K, H, W)", scores.ndim >= 3)
    return scores.flatten(2).mean(2)


def _detection(scores: Tensor) -> Tensor:
    """Each class's largest over the candidates Q of (N, Q, K)."""
    _check_rank(scores, "detection", "(N, Q, K)", scores.ndim == 3)
    return scores.amax(1)


def _last(scores: Tensor) -> Tensor:
    """The last step of (N, T, K)."""
    _check_rank(scores, "last", "(N, T, K)", scores.ndim == 3)
    return scores[:, -1]


def _unchanged(scores: Tensor) -> Tensor:
    """Labels (N, K) that do not exclude each other."""
    return scores


KINDS: dict[str, Made] = {
    "binary": binary,
    "detection": _detection,
    "last": _last,
    "multilabel": _unchanged,
    "probabilities": _probabilities,
    "regression": _regression,
    "segmentation": _segmentation,
}


def _column(value: Tensor, name: str) -> Tensor:
    if value.ndim == 1:
        return value[:, None]
    _check_rank(value, name, "(N,) or (N, 1)", value.ndim == 2 and value.shape[1] == 1)
    return value


def _check_rank(value: Tensor, name: str, expected: str, fits: bool) -> None:
    if not fits:
        raise SurefootError(
            f"output={name!r} is for outputs {expected}, but the module gave {tuple(value.shape)}; "
            "give a callable: output=lambda found: ..."
        )
