"""Many small linear programmes at once: a batched primal-dual interior-point method.

Mehrotra's predictor-corrector (SIAM J. Optim. 2(4), 1992) on the inequality form, started at a
strictly feasible point, so that every iterate is feasible and stopping early costs only optimality.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_INSIDE = 1e-4  # how far from its box the start is kept, as a share of the box
_BACKOFF = 0.95  # share of the way to the nearest constraint that a step may go


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


class _State(NamedTuple):
    u: Tensor  # (B, n)
    moved: Tensor  # A (u - u0), (B, m)
    duals: tuple[Tensor, ...]  # of upper, lower, high, low


def maximise(
    problems: Programmes, start: Tensor, iterations: int = 16, tolerance: float = 1e-2
) -> Tensor:
    """Near-optimal points (B, n), strictly feasible, of all programmes.

    Args:
        problems: the programmes.
        start: u0, (B, n), where -lower <= 0 <= upper holds and the box is met.
        iterations: at most.
        tolerance: duality gap, relative to the objective's scale, at which one is done.
    """
    problems = problems._replace(c=problems.c / problems.c.abs().amax(1, True).clamp_min(1e-30))
    problems, state = _begin(problems, start)
    live = torch.ones(len(start), dtype=torch.bool, device=start.device)
    scale = (problems.c.abs() * (problems.high - problems.low)).sum(1).clamp_min(1e-30)
    for _ in range(iterations):
        slacks = _slacks(problems, state)
        residual = _dual_residual(problems, state)
        gap = _product(slacks, state.duals)
        worth = (problems.c * state.u).sum(1).abs().clamp_min(1e-3 * scale)
        live = live & ((gap > tolerance * worth) | (residual.abs().amax(1) > tolerance))
        if not live.any():
            break
        state, live = _step(problems, state, slacks, residual, gap, live)
    return state.u


def _begin(problems: Programmes, start: Tensor) -> tuple[Programmes, _State]:
    """Pull the start off its box, and give it duals that satisfy the dual equation exactly."""
    margin = _INSIDE * (problems.high - problems.low)
    u = start.clamp(problems.low + margin, problems.high - margin)
    shift = _rows(problems.A, u - start)
    rows = torch.maximum(problems.lower, problems.upper).clamp_max(1)
    floor = 1e-3 * rows
    problems = problems._replace(
        lower=torch.maximum(problems.lower + shift, floor),
        upper=torch.maximum(problems.upper - shift, floor),
    )
    size = 0.1 * problems.c.abs().mean(1, keepdim=True)
    share = 0.3 * problems.c.shape[1] / problems.A.shape[1]
    upper, lower = (share * size / s.clamp_min(0.05) for s in (problems.upper, problems.lower))
    rest = problems.c - _columns(problems.A, upper - lower)
    duals = (upper, lower, rest.clamp_min(0) + size, (-rest).clamp_min(0) + size)
    return problems, _State(u, torch.zeros_like(problems.upper), duals)


def _step(
    problems: Programmes,
    state: _State,
    slacks: tuple[Tensor, ...],
    residual: Tensor,
    gap: Tensor,
    live: Tensor,
) -> tuple[_State, Tensor]:
    weight = state.duals[0] / slacks[0] + state.duals[1] / slacks[1]
    diagonal = state.duals[2] / slacks[2] + state.duals[3] / slacks[3]
    hessian = problems.A.mT @ (problems.A * weight[..., None])
    hessian.diagonal(dim1=1, dim2=2).add_(diagonal)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    count = 2 * (problems.A.shape[1] + problems.A.shape[2])

    def direction(target: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        t = [r / s for r, s in zip(target, slacks, strict=True)]
        right = residual - _columns(problems.A, t[0] - t[1]) - (t[2] - t[3])
        du = torch.cholesky_solve(right[..., None], factor)[..., 0]
        moved = _rows(problems.A, du)
        changes = (-moved, moved, -du, du)
        parts = zip(t, state.duals, changes, slacks, strict=True)
        return du, moved, tuple(r - y * ds / s for r, y, ds, s in parts)

    du, moved, dy = direction(tuple(-s * y for s, y in zip(slacks, state.duals, strict=True)))
    ds = (-moved, moved, -du, du)
    primal, dual = _reach(slacks, ds), _reach(state.duals, dy)
    ahead = _product(_add(slacks, ds, primal), _add(state.duals, dy, dual))
    centre = ((ahead / gap) ** 3 * gap / count)[:, None]
    corrected = zip(slacks, state.duals, ds, dy, strict=True)
    du, moved, dy = direction(tuple(centre - s * y - a * b for s, y, a, b in corrected))
    primal = _BACKOFF * _reach(slacks, (-moved, moved, -du, du))
    dual = _BACKOFF * _reach(state.duals, dy)
    live = live & (failed == 0) & du.isfinite().all(1) & primal.isfinite()[:, 0]
    live = live & torch.stack([d.isfinite().all(1) for d in dy]).all(0)
    keep = live[:, None]
    new = _State(
        torch.where(keep, state.u + primal * du, state.u),
        torch.where(keep, state.moved + primal * moved, state.moved),
        tuple(torch.where(keep, y + dual * d, y) for y, d in zip(state.duals, dy, strict=True)),
    )
    return new, live


def _slacks(problems: Programmes, state: _State) -> tuple[Tensor, ...]:
    return (
        problems.upper - state.moved,
        problems.lower + state.moved,
        problems.high - state.u,
        state.u - problems.low,
    )


def _dual_residual(problems: Programmes, state: _State) -> Tensor:
    upper, lower, high, low = state.duals
    return problems.c - _columns(problems.A, upper - lower) - high + low


def _rows(A: Tensor, u: Tensor) -> Tensor:
    return (A @ u[..., None])[..., 0]


def _columns(A: Tensor, y: Tensor) -> Tensor:
    return (y[:, None] @ A)[:, 0]


def _product(slacks: tuple[Tensor, ...], duals: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(s * y).sum(1) for s, y in zip(slacks, duals, strict=True)]).sum(0)


def _add(base: tuple[Tensor, ...], step: tuple[Tensor, ...], by: Tensor) -> tuple[Tensor, ...]:
    return tuple(b + by * s for b, s in zip(base, step, strict=True))


def _reach(values: tuple[Tensor, ...], steps: tuple[Tensor, ...]) -> Tensor:
    """The longest step in (0, 1] that keeps every value non-negative, (B, 1)."""
    ratios = [
        torch.where(d < 0, -v / d, torch.inf).amin(1) for v, d in zip(values, steps, strict=True)
    ]
    return torch.stack(ratios).amin(0).clamp(max=1)[:, None]
