"""What counts of successes say of a probability."""

from typing import Any

import torch
from torch import Tensor

from surefoot.errors import optional


def p_values(successes: Tensor, trials: int, tau: float) -> Tensor:
    """P(Bin(trials, tau) >= successes), float64: small where the probability exceeds tau.

    >>> p_values(torch.tensor([0, 2, 90]), 90, 0.75)[[0, 2]]
    tensor([1.0000e+00, 5.6953e-12], dtype=torch.float64)
    """
    found = _stats().binom.sf(successes.double().cpu().numpy() - 1, trials, tau)
    return torch.as_tensor(found, dtype=torch.float64, device=successes.device)


def at_most(successes: Tensor, trials: int, alpha: float) -> Tensor:
    """Clopper and Pearson's upper bound of a probability, wrong with probability alpha, float64.

    >>> at_most(torch.tensor([0, 5, 10]), 10, 0.05)
    tensor([0.2589, 0.7776, 1.0000], dtype=torch.float64)
    """
    n = successes.double().cpu()
    found = _stats().beta.ppf(1 - alpha, n.numpy() + 1, (trials - n).clamp_min(0.5).numpy())
    high = torch.where(n >= trials, 1.0, torch.as_tensor(found, dtype=torch.float64))
    return high.to(successes.device)


def rejected(p: Tensor, alpha: float) -> Tensor:
    """Which of each row's hypotheses fall, (N, m), all true ones kept with probability 1 - alpha.

    Holm's step down: never fewer than Bonferroni's alpha / m, with the same promise.

    >>> rejected(torch.tensor([[0.01, 0.04, 0.02]]), 0.05)
    tensor([[True, True, True]])
    """
    ordered, order = p.sort(1)
    left = torch.arange(p.shape[1], 0, -1, device=p.device)
    passed = (ordered <= alpha / left).long().cumprod(1).bool()
    return torch.zeros_like(passed).scatter_(1, order, passed)


def _stats() -> Any:
    return optional("scipy.stats", "certify")
