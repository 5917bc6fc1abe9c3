"""The decoy problem where a block is too large for a linear programme: first-order, joint.

An augmented Lagrangian with a multiplier for each output of the layer, minimised by Adam with a
falling rate and projected to the box; the best feasible point wins. Used under attention and
squeeze-excite, where all patches of a mask meet at every output, and for very large patches.
"""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor

from surefoot import draws, gradients
from surefoot.decoy._solve import Problem, approach

# Settings are this project's choice, from trials on a convolutional net and a transformer.
_RATES = (0.03, 0.03, 0.02, 0.01, 0.005, 0.0025, 0.001, 0.0005)  # of Adam, as a share of the box
_STEPS = {"fast": 4, "thorough": 10}  # at each rate
_HASTE = {"fast": 1.6, "thorough": 1.0}  # how much larger the rates are
_LOOKS: dict[str, Collection[int]] = {
    "fast": (3, 5, 7),
    "thorough": range(8),
}  # after which rates the best is looked for
_START = 1e-2  # size of the random start, likewise
_FELT = 0.25  # of epsilon, that the start may change; where it is more, all steps shrink as much
_WEIGHT = 0.3  # of the quadratic penalty at the first rate
_GROWTH = 3.0  # of that weight with each rate
_AIM = 0.95  # of epsilon
_SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03)  # where the secant finds none
_WORTH = 50.0  # of a full swing against the penalty


def solve_jointly(problem: Problem, seed: int, effort: Literal["fast", "thorough"]) -> Tensor:
    """Signed offsets u (B, n), every block feasible; the random start depends on `seed` alone."""
    against, along = problem.span
    width = (along - against).clamp_min(1e-12)
    start = _START * draws.uniform(seed, slice(0, 1), width).expand_as(width)
    felt = problem.measure((start * width).clamp(against, along)).abs().amax(1, keepdim=True)
    width = width * (_FELT / felt.clamp_min(_FELT))
    w = start.clamp(against / width, along / width).clone()
    best, now = torch.zeros_like(w), w.new_zeros(problem.outputs.shape)
    pressure = torch.zeros_like(now)
    best, now = approach(problem, best, now, along)
    optimiser = torch.optim.Adam([w], betas=(0.9, 0.99))
    for turn, rate in enumerate(_RATES):
        weight = _WEIGHT * _GROWTH**turn
        optimiser.param_groups[0]["lr"] = rate * _HASTE[effort]
        for _ in range(_STEPS[effort]):
            w.grad = _slope(problem, w, width, pressure, weight)
            optimiser.step()
            w.copy_(w.clamp(against / width, along / width))
        if turn in _LOOKS[effort]:
            best, now = _better(problem, best, now, w * width)
        pressure = (pressure + weight * (problem.measure(w * width).abs() - _AIM)).clamp_min(0)
    return best


def _better(problem: Problem, best: Tensor, now: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The best of what we had, a way from there to u, and a way from nothing to u."""
    still = torch.zeros_like(u)
    options = [(best, now), approach(problem, best, now, u), approach(problem, still, 0 * now, u)]
    worth = torch.stack([option.clamp_min(0).sum(1) for option, _ in options])
    pick = worth.argmax(0)
    every = torch.arange(len(u), device=u.device)
    points, deviations = (torch.stack(each) for each in zip(*options, strict=True))
    return _anywhere(problem, points[pick, every], deviations[pick, every], u)


def _anywhere(problem: Problem, best: Tensor, now: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks that are where they began go the largest share of u that is feasible, of a few."""
    for share in _SHARES:
        idle = ~best.any(1, keepdim=True)
        if not idle.any():
            break
        found = problem.measure(torch.where(idle, share * u, best))
        good = idle & (found.abs().amax(1, keepdim=True) <= 1)
        best, now = torch.where(good, share * u, best), torch.where(good, found, now)
    return best, now


def _slope(problem: Problem, w: Tensor, width: Tensor, pressure: Tensor, weight: float) -> Tensor:
    room = problem.span[1].sum(1).clamp_min(1e-12)

    def lagrangian(v: Tensor) -> Tensor:
        u = v * width
        held = (pressure + weight * (problem.measure(u).abs() - _AIM)).clamp_min(0)
        return held.square().sum(1) / (2 * weight) - _WORTH * u.clamp_min(0).sum(1) / room

    return gradients.value_and_gradient(lagrangian, w)[1]
