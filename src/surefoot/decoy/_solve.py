"""The decoy problem (Eq. 2 of arXiv 2002.00526), solved block by block.

    max_d  sum_k (s d_k)^+   s.t.  |F_l(x + d) - F_l(x)| <= eps,  x + d in the box,  d = 0 off mask

Sequential linear programming that never leaves the feasible set. Each round replaces F_l by a
linear model, found by finite differences so that any layer will do, and (.)^+ by the entries that
are positive now, which bounds it from below; solves all blocks' programmes at once; and goes as
far towards their solutions as a real forward pass allows. Moving against the sign costs nothing in
Eq. 2 and frees much room: a patch can keep its mean.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from surefoot.decoy._lp import Programmes, maximise

_STEP = 1e-3  # of the finite differences, as a share of a feature's box
_SLACK = 1e-3  # kept between the linear model and the constraint
_TINY = 1e-3  # weight of an entry that does not count, so that it does not drift
_LEAST_ROWS = 96  # constraints a programme keeps: the tightest max(this, 4 n)
_PROBES = 4  # forward passes of one search along the segment
_TOGETHER = 32  # inputs per call while linearising
_GAIN = 1e-3  # relative gain of a round below which a block is done


@dataclass(frozen=True)
class Problem:
    """Blocks of one input, each with a sign and its own outputs.

    The first half of the blocks has the sign +1, the second half the same blocks with -1.

    Attributes:
        deviate: rows (R, F) of flat inputs to (F_l(row) - F_l(x)) / eps, (R, m).
        x: the input, flat, (F,).
        low: (F,), the box, any cap included.
        high: (F,).
        row: (B,), the decoy that a block belongs to.
        sign: (B, 1), +1 or -1.
        features: (B, n), flat indices into x.
        outputs: (B, L), flat indices into the outputs, padded with m.
        rows: number of decoys R.
    """

    deviate: Callable[[Tensor], Tensor]
    x: Tensor
    low: Tensor
    high: Tensor
    row: Tensor
    sign: Tensor
    features: Tensor
    outputs: Tensor
    rows: int

    @property
    def span(self) -> tuple[Tensor, Tensor]:
        """How far each feature may go against and along its block's sign, both (B, n)."""
        up = (self.high - self.x)[self.features]
        down = (self.low - self.x)[self.features]
        against = torch.where(self.sign > 0, down, -up)
        along = torch.where(self.sign > 0, up, -down)
        return against, along

    def first_half(self) -> "Problem":
        """The blocks with sign +1 alone, in decoys of their own."""
        half = len(self.row) // 2
        rows = self.rows // 2
        return replace(
            self,
            row=self.row[:half],
            sign=self.sign[:half],
            features=self.features[:half],
            outputs=self.outputs[:half],
            rows=rows,
        )

    def place(self, u: Tensor) -> Tensor:
        """The decoys (R, F) for signed offsets u (B, n); outside the blocks x itself."""
        decoys = self.x.repeat(self.rows, 1)
        moved = self.x[self.features] + self.sign * u
        moved = moved.clamp(self.low[self.features], self.high[self.features])
        decoys[self.row[:, None], self.features] = moved
        return decoys

    def own(self, deviations: Tensor) -> Tensor:
        """Each block's outputs (B, L) out of those of all decoys (R, m)."""
        padded = torch.nn.functional.pad(deviations, (0, 1))
        return padded[self.row[:, None], self.outputs]

    def measure(self, u: Tensor) -> Tensor:
        """The blocks' deviations (B, L) in units of eps."""
        return self.own(self.deviate(self.place(u)))


def solve(problem: Problem, rounds: int, thorough: bool) -> Tensor:
    """Signed offsets u (B, n), every block feasible on its own outputs.

    Args:
        problem: the blocks.
        rounds: linear programmes solved, at most.
        thorough: linearise again in every round; otherwise once, at x, for both signs, and learn
            from the steps taken.
    """
    along = problem.span[1]
    u = torch.zeros_like(along)
    now = torch.zeros(problem.outputs.shape).to(u)
    model = _mirrored(linearise(problem.first_half(), *(t[: len(u) // 2] for t in (u, now))))
    live = torch.ones(len(u), dtype=torch.bool, device=u.device)
    for turn in range(rounds):
        counted = (along > 0) & ((u > 0) | (turn == 0))
        aim = torch.where(live[:, None], _aim(problem, model, u, now, counted), u)
        was, then = u, now
        u, now = approach(problem, u, now, aim)
        gain = u.clamp_min(0).sum(1) - (1 + _GAIN) * was.clamp_min(0).sum(1)
        live = live & (gain > 0)
        if not live.any() or turn + 1 == rounds:
            break
        model = linearise(problem, u, now) if thorough else _learn(model, u - was, now - then)
    return u


class Model(NamedTuple):
    """The linear model of the blocks' tightest outputs.

    Attributes:
        slopes: (B, K, n), of the deviation in u.
        which: (B, K), which of the block's outputs.
    """

    slopes: Tensor
    which: Tensor


def linearise(problem: Problem, u: Tensor, now: Tensor) -> Model:
    """Slopes at u by differences into the room there is, for the outputs that may bind first."""
    against, along = problem.span
    width = along - against
    step = _STEP * width * torch.where(u + _STEP * width <= along, 1.0, -1.0).to(u)
    together = max(1, _TOGETHER // problem.rows)
    columns: list[Tensor] = []
    for start in range(0, u.shape[1], together):
        some = range(start, min(start + together, u.shape[1]))
        nudged = [problem.place(u + step * _unit(k, u)) for k in some]
        found = problem.deviate(torch.cat(nudged)).chunk(len(some))
        for k, deviations in zip(some, found, strict=True):
            size = torch.where(step[:, k] == 0, 1, step[:, k])
            columns.append((problem.own(deviations) - now) / size[:, None])
    slopes = torch.stack(columns, 1)
    rows = min(now.shape[1], max(_LEAST_ROWS, 4 * u.shape[1]))
    tightness = (slopes * width[..., None]).norm(dim=1) / (1 - now.abs()).clamp_min(0.05)
    which = tightness.topk(rows, dim=1).indices
    kept = slopes.gather(2, which[:, None].expand(-1, slopes.shape[1], -1))
    return Model(kept.mT.contiguous(), which)


def _unit(k: int, like: Tensor) -> Tensor:
    direction = torch.zeros(like.shape[1]).to(like)
    direction[k] = 1
    return direction


def _mirrored(model: Model) -> Model:
    """The same outputs for both signs: against the sign is the way of the other one."""
    return Model(torch.cat([model.slopes, -model.slopes]), model.which.repeat(2, 1))


def _learn(model: Model, step: Tensor, change: Tensor) -> Model:
    """Broyden's update: the model that explains the step's change and differs least."""
    size = step.square().sum(1, keepdim=True).clamp_min(1e-12)
    surprise = change.gather(1, model.which) - (model.slopes @ step[..., None])[..., 0]
    learnt = torch.baddbmm(model.slopes, surprise[..., None], (step / size)[:, None])
    return model._replace(slopes=learnt)


def _aim(problem: Problem, model: Model, u: Tensor, now: Tensor, counted: Tensor) -> Tensor:
    """Solutions of the blocks' linear programmes, in variables scaled by their box."""
    against, along = problem.span
    width = (along - against).clamp_min(1e-12)
    here = now.gather(1, model.which)
    limit = 1 - _SLACK
    problems = Programmes(
        torch.where(counted, 1.0, _TINY).to(u) * width,
        model.slopes * width[:, None],
        (limit + here).clamp_min(_SLACK),
        (limit - here).clamp_min(_SLACK),
        against / width,
        along / width,
    )
    return maximise(problems, u / width) * width


def approach(problem: Problem, u: Tensor, now: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """The farthest tried point from u towards aim that a forward pass finds feasible."""
    near, far = torch.zeros(2, len(u), 1).to(u)
    far += 1
    at_far = torch.full_like(near, torch.inf)
    best = now
    t = far.clone()
    for _ in range(_PROBES):
        found = problem.measure(u + t * (aim - u))
        worst = found.abs().amax(1, keepdim=True)
        good = worst <= 1
        near = torch.where(good, t, near)
        best = torch.where(good, found, best)
        far, at_far = torch.where(good, far, t), torch.where(good, at_far, worst)
        at_near = best.abs().amax(1, keepdim=True)
        guess = near + (far - near) * (0.98 - at_near) / (at_far - at_near).clamp_min(1e-6)
        t = torch.where(near == 1, near, guess.clamp(near + 0.1 * (far - near), far))
    return u + near * (aim - u), best
