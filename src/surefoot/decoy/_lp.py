"""Many small linear programmes at once: a batched primal-dual interior-point method.

Mehrotra's predictor-corrector (SIAM J. Optim. 2(4), 1992) on the inequality form, started at a
strictly feasible point, so that every iterate is feasible and stopping early costs only optimality.

The constraints are held side by side, (B, 2m + 2n): upper rows, lower rows, high box, low box.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_INSIDE = 1e-4  # how far from its box the start is kept, as a share of the box
_BACKOFF = 0.95  # share of the way to the nearest constraint that a step may go
_TOGETHER = 2**19  # elements of A worked on at once, so that they stay in a CPU's cache
_UNCOUNTED = 1e-3  # weight of an entry that stopped counting, so that it does not drift
_DRIFT = 1e-3  # worth below this share of the best conceivable is not resolved further


class Programmes(NamedTuple):
    """max c.u subject to -lower <= A (u - u0) <= upper and low <= u <= high, B of them.

    Attributes:
        c: (B, n), the objective.
        A: (B, m, n).
        lower: (B, m), positive.
        upper: (B, m), positive.
        low: (B, n).
        high: (B, n), above low.
    """

    c: Tensor
    A: Tensor
    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor


def maximise(
    problems: Programmes,
    start: Tensor,
    iterations: int = 16,
    tolerance: float = 0.3,
    recount: int | None = None,
) -> Tensor:
    """Near-optimal points (B, n), strictly feasible, of all programmes.

    Args:
        problems: the programmes.
        start: u0, (B, n), where -lower <= 0 <= upper holds and the box is met.
        iterations: at most.
        tolerance: bound on the duality gap, relative to the objective, at which a programme is
            done; the objective itself is mostly within a tenth of that. Points inside the set
            are a better start for a step of a nonlinear layer than exact corners.
        recount: after so many iterations entries of u that are not positive stop counting, which
            turns sum(u) into the sum of its positive part; None: never.
    """
    together = max(1, _TOGETHER // problems.A[0].numel())
    fields = (torch.split(field, together) for field in (*problems, start))
    pieces = zip(*fields, strict=True)
    return torch.cat(
        [_maximise(Programmes(*p), u, iterations, tolerance, recount) for *p, u in pieces]
    )


def _maximise(
    problems: Programmes, start: Tensor, iterations: int, tolerance: float, recount: int | None
) -> Tensor:
    A = problems.A
    c = problems.c / problems.c.abs().amax(1, keepdim=True).clamp_min(1e-30)
    u, slack = _inside(problems, start)
    dual = _first_duals(c, A, slack)
    live = torch.ones(len(u), dtype=torch.bool, device=u.device)
    best = _DRIFT * (c.abs() * (problems.high - problems.low)).sum(1)
    for turn in range(iterations):
        if turn == recount:
            c = torch.where(u > 0, c, _UNCOUNTED * c)
        residual = c - _adjoint(A, dual)
        gap = (slack * dual).sum(1)
        worth = (c * u).sum(1).abs().maximum(best)
        live = live & ((gap > tolerance * worth) | (residual.abs().amax(1) > tolerance))
        if not live.any():
            break
        step, dual_step = _directions(A, slack, dual, residual, gap)
        change = _constraints(A, step)
        good = step.isfinite().all(1) & dual_step.isfinite().all(1)
        live = live & good
        keep = live[:, None]
        size = torch.where(keep, _BACKOFF * _reach(slack, change), 0)
        u = u + size * torch.where(keep, step, 0)
        slack = slack + size * torch.where(keep, change, 0)
        size = torch.where(keep, _BACKOFF * _reach(dual, dual_step), 0)
        dual = dual + size * torch.where(keep, dual_step, 0)
    return u


def _inside(problems: Programmes, start: Tensor) -> tuple[Tensor, Tensor]:
    """The start pulled off its box, and its slacks, (B, 2m + 2n), all positive."""
    margin = _INSIDE * (problems.high - problems.low)
    u = start.clamp(problems.low + margin, problems.high - margin)
    shift = (problems.A @ (u - start)[..., None])[..., 0]
    least = 1e-3 * torch.maximum(problems.lower, problems.upper).clamp_max(1)
    rows = [(problems.upper - shift).maximum(least), (problems.lower + shift).maximum(least)]
    return u, torch.cat([*rows, problems.high - u, u - problems.low], 1)


def _first_duals(c: Tensor, A: Tensor, slack: Tensor) -> Tensor:
    """Positive duals that meet the dual equation exactly."""
    m, n = A.shape[1:]
    size = 0.1 * c.abs().mean(1, keepdim=True)
    rows = 0.3 * n / m * size / slack[:, : 2 * m].clamp_min(0.05)
    rest = c - ((rows[:, :m] - rows[:, m:])[:, None] @ A)[:, 0]
    return torch.cat([rows, rest.clamp_min(0) + size, (-rest).clamp_min(0) + size], 1)


def _directions(
    A: Tensor, slack: Tensor, dual: Tensor, residual: Tensor, gap: Tensor
) -> tuple[Tensor, Tensor]:
    """Mehrotra's step in u and in the duals; not finite where the factorisation fails."""
    m, n = A.shape[1:]
    ratio = dual / slack
    hessian = A.mT @ (A * (ratio[:, :m] + ratio[:, m : 2 * m])[..., None])
    hessian.diagonal(dim1=1, dim2=2).add_(ratio[:, -2 * n : -n] + ratio[:, -n:])
    factor, failed = torch.linalg.cholesky_ex(hessian)
    factor = torch.where(failed[:, None, None] > 0, torch.nan, factor)

    def solve(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = target / slack
        right = residual - _adjoint(A, wanted)
        step = torch.cholesky_solve(right[..., None], factor)[..., 0]
        change = _constraints(A, step)
        return step, change, wanted - ratio * change

    product = slack * dual
    _, change, dual_step = solve(-product)
    ahead = (slack + _reach(slack, change) * change) * (dual + _reach(dual, dual_step) * dual_step)
    centre = (ahead.sum(1) / gap) ** 3 * gap / slack.shape[1]
    step, _, dual_step = solve(centre[:, None] - product - change * dual_step)
    return step, dual_step


def _constraints(A: Tensor, step: Tensor) -> Tensor:
    """How a step in u changes the slacks, (B, 2m + 2n)."""
    rows = (A @ step[..., None])[..., 0]
    return torch.cat([-rows, rows, -step, step], 1)


def _adjoint(A: Tensor, dual: Tensor) -> Tensor:
    """The transpose of minus `_constraints`, (B, n)."""
    m, n = A.shape[1:]
    rows = ((dual[:, :m] - dual[:, m : 2 * m])[:, None] @ A)[:, 0]
    return rows + dual[:, -2 * n : -n] - dual[:, -n:]


def _reach(values: Tensor, steps: Tensor) -> Tensor:
    """The longest step in (0, 1] that keeps every value non-negative, (B, 1)."""
    return 1 / (-steps / values).amax(1, keepdim=True).clamp_min(1)
