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
from surefoot.decoy._stencil import Stencil

_STEP = 1e-3  # of the finite differences, as a share of a feature's box
_SLACK = 1e-3  # kept between the linear model and the constraint
_TINY = 1e-3  # weight of an entry that does not count, so that it does not drift
_LEAST_ROWS = 96  # constraints a programme keeps: the tightest max(this, 4 n)
_PROBES, _MORE = 3, 4  # forward passes of one search along the segment, and if thorough
_TOGETHER = 32  # inputs per call while linearising
_NEAR = 0.08  # room to both sides, as a share of the box, where the box hardly ever binds
_QUICK, _TIGHT, _RECOUNT = 6, 0.01, 2  # iterations of the first programme, their tolerance
_LEAST = 0.01  # of what is left of the segment, that the next probe goes at least
_GAIN = 1e-3  # relative gain of a round below which a block is done


@dataclass(frozen=True)
class Problem:
    """Blocks of one input, each with a sign and its own outputs.

    The first half of the blocks has the sign +1, the second half the same blocks with -1.

    Attributes:
        deviate: rows (R, F) of flat inputs to (F_l(row) - F_l(x)) / eps, (R, m).
        x: the input, flat, and a 0 at its end for absent features, (F + 1,).
        low: (F + 1,), the box, any cap included.
        high: (F + 1,).
        row: (B,), the decoy that a block belongs to.
        sign: (B, 1), +1 or -1.
        features: (B, n), flat indices into x, padded with F.
        outputs: (B, L), flat indices into the outputs, padded anyhow.
        absent: (B, L) bool: which of them are padding.
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
    absent: Tensor
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
            absent=self.absent[:half],
            rows=rows,
        )

    def place(self, u: Tensor) -> Tensor:
        """The decoys (R, F) for signed offsets u (B, n); outside the blocks x itself."""
        decoys = self.x.repeat(self.rows, 1)
        moved = self.x[self.features] + self.sign * u
        moved = moved.clamp(self.low[self.features], self.high[self.features])
        decoys[self.row[:, None], self.features] = moved
        return decoys[:, :-1]

    def own(self, deviations: Tensor) -> Tensor:
        """Each block's outputs (B, L) out of those of all decoys (R, m); 0 for absent ones."""
        return deviations[self.row[:, None], self.outputs].masked_fill_(self.absent, 0)

    def measure(self, u: Tensor) -> Tensor:
        """The blocks' deviations (B, L) in units of eps."""
        return self.own(self.deviate(self.place(u)))


def solve(problem: Problem, rounds: int, thorough: bool, model: "Model | None") -> Tensor:
    """Signed offsets u (B, n), every block feasible on its own outputs.

    Args:
        problem: the blocks.
        rounds: linear programmes solved, at most.
        thorough: linearise again in every round; otherwise once, at x, for both signs, and learn
            from the steps taken.
        model: the linear model of the first half of the blocks at x, if it is known.
    """
    along = problem.span[1]
    u = torch.zeros_like(along)
    now = u.new_zeros(problem.outputs.shape)
    if model is None:
        model = linearise(problem.first_half(), *(t[: len(u) // 2] for t in (u, now)))
    live = torch.ones(len(u), dtype=torch.bool, device=u.device)
    for turn in range(rounds):
        if turn == 0 and not thorough:
            aim = _first_aim(problem, model)
            model = _mirrored(model) if rounds > 1 else model
        else:
            model = _mirrored(model) if turn == 0 else model
            counted = (along > 0) & ((u > 0) | (turn == 0))
            aim = torch.where(live[:, None], _aim(problem, model, u, now, counted), u)
        was, then = u, now
        u, now = approach(problem, u, now, aim, _MORE if thorough else _PROBES)
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
    step = _nudge(width, along - u)
    together = max(1, _TOGETHER // problem.rows)
    columns: list[Tensor] = []
    for start in range(0, u.shape[1], together):
        some = range(start, min(start + together, u.shape[1]))
        nudged = [problem.place(u + step * _unit(k, u)) for k in some]
        found = problem.deviate(torch.cat(nudged)).chunk(len(some))
        columns += [problem.own(deviations) for deviations in found]
    changes = torch.stack(columns, 1)
    if now.any():
        changes -= now[:, None]
    scale = 1 / torch.where(step == 0, 1, step)
    rows = kept_rows(now.shape[1], u.shape[1])
    size = torch.einsum("bnl,bnl,bn->bl", changes, changes, (scale * width).square())
    which = (size / (1 - now.abs()).clamp_min(0.05).square()).topk(rows, dim=1).indices
    kept = changes.gather(2, which[:, None].expand(-1, changes.shape[1], -1))
    return Model((kept * scale[..., None]).mT.contiguous(), which)


def _nudge(width: Tensor, ahead: Tensor) -> Tensor:
    """A small step into a box of this width, back where there is no room ahead."""
    return _STEP * width * torch.where(_STEP * width <= ahead, 1.0, -1.0).to(width)


def kept_rows(outputs: int, features: int) -> int:
    """How many of a block's outputs its linear model keeps."""
    return min(outputs, max(_LEAST_ROWS, 4 * features))


class Learnt(NamedTuple):
    """What the outputs do at the input if places are nudged, one at a time in an output's eyes.

    Attributes:
        changes: (count, m), in each pass of the stencil.
        energy: (count / channels, m), their squares, all channels of a place together.
        step: (F + 1,), how far each feature was nudged.
    """

    changes: Tensor
    energy: Tensor
    step: Tensor


def learn(problem: Problem, plan: Stencil) -> Learnt:
    """Nudge all features that the stencil allows at once; of the problem its input counts."""
    step = _nudge(problem.high - problem.low, problem.high - problem.x)
    together = plan.channels * max(1, _TOGETHER // plan.channels)
    changes = energy = step.new_empty(0)
    for numbers in torch.split(torch.arange(plan.count, device=step.device), together):
        rows = problem.x + torch.where(plan.passes == numbers[:, None], step, 0)
        found = problem.deviate(rows[:, :-1])
        if not len(changes):  # written where they stay: put together they would be there twice
            changes = found.new_empty(plan.count, found.shape[1])
            energy = found.new_empty(plan.count // plan.channels, found.shape[1])
        changes[numbers] = found
        squares = found.square().view(-1, plan.channels, found.shape[1]).sum(1)
        energy[numbers[:: plan.channels] // plan.channels] = squares
    return Learnt(changes, energy, step)


def gathered(problem: Problem, learnt: Learnt, plan: Stencil) -> Model:
    """The model at the input of blocks with the sign +1, like that of `linearise`."""
    features, outputs = problem.features, problem.outputs
    passes, places = plan.passes[features], features[:, :: plan.channels]
    near = learnt.energy[plan.passes[places][:, :, None] // plan.channels, outputs[:, None]]
    size = near.masked_fill_(~plan.sees(places, outputs), 0).sum(1)
    rows = kept_rows(outputs.shape[1], features.shape[1])
    which = size.masked_fill_(problem.absent, 0).topk(rows, dim=1).indices
    kept, absent = outputs.gather(1, which), problem.absent.gather(1, which)
    slopes = learnt.changes[passes[:, None], kept[:, :, None]]
    step = learnt.step[features]
    slopes /= torch.where(step == 0, 1, step)[:, None]
    slopes.masked_fill_(~plan.sees(features, kept).mT | absent[:, :, None], 0)
    return Model(slopes, which)


def _unit(k: int, like: Tensor) -> Tensor:
    direction = like.new_zeros(like.shape[1])
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


def _first_aim(problem: Problem, model: Model) -> Tensor:
    """Solutions at x, where both signs of a block have the same one unless the box is near."""
    half = len(model.slopes)
    against, along = (side[:half] for side in problem.span)
    width, near = along - against, torch.minimum(along, -against)
    shared = ((near >= _NEAR * width) | (width <= 0)).all(1)
    alone = half + (~shared).nonzero()[:, 0]
    which = torch.cat([torch.arange(half, device=width.device), alone])
    low, high = (side[which] for side in problem.span)
    both = torch.nn.functional.pad(shared, (0, len(alone)))[:, None]
    near = near[which % half]
    low, high = torch.where(both, -near, low), torch.where(both, near, high)
    limit = low.new_full(model.which.shape, 1 - _SLACK)[which % half]
    counted = torch.where(high > 0, 1.0, _TINY).to(low)
    programmes, width = _scaled(counted, model.slopes[which % half], (limit, limit), low, high)
    still = torch.zeros_like(low)
    found = maximise(programmes, still, _QUICK, _TIGHT, _RECOUNT) * width
    aim = torch.cat([found[:half], found[:half]])
    aim[alone] = found[half:]
    return aim


def _aim(problem: Problem, model: Model, u: Tensor, now: Tensor, counted: Tensor) -> Tensor:
    """Solutions of the blocks' linear programmes, in variables scaled by their box."""
    here = now.gather(1, model.which)
    lower, upper = (((1 - _SLACK) + sign * here).clamp_min(_SLACK) for sign in (1, -1))
    weights = torch.where(counted, 1.0, _TINY).to(u)
    programmes, width = _scaled(weights, model.slopes, (lower, upper), *problem.span)
    return maximise(programmes, u / width) * width


def _scaled(
    weights: Tensor, slopes: Tensor, limits: tuple[Tensor, Tensor], low: Tensor, high: Tensor
) -> tuple[Programmes, Tensor]:
    """Programmes in variables scaled by their box, and the scale; a closed box is out of play."""
    width, open_ = high - low, high > low
    wide = width.clamp_min(1e-12)
    return Programmes(
        weights * width,
        slopes * width[:, None],
        *limits,
        torch.where(open_, low / wide, -1.0),
        torch.where(open_, high / wide, 1.0),
    ), width.clamp_min(1e-30)


def approach(
    problem: Problem, u: Tensor, now: Tensor, aim: Tensor, probes: int = _PROBES
) -> tuple[Tensor, Tensor]:
    """The farthest tried point from u towards aim that a forward pass finds feasible."""
    near, far = u.new_zeros(2, len(u), 1)
    far += 1
    at_far = torch.full_like(near, torch.inf)
    best = now
    t = far.clone()
    for _ in range(probes):
        found = problem.measure(u + t * (aim - u))
        worst = found.abs().amax(1, keepdim=True)
        good = worst <= 1
        near = torch.where(good, t, near)
        best = torch.where(good, found, best)
        far, at_far = torch.where(good, far, t), torch.where(good, at_far, worst)
        at_near = best.abs().amax(1, keepdim=True)
        guess = near + (far - near) * (0.98 - at_near) / (at_far - at_near).clamp_min(1e-6)
        t = torch.where(near == 1, near, guess.clamp(near + _LEAST * (far - near), far))
    return u + near * (aim - u), best
