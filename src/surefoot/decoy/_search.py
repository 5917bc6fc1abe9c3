"""The decoy search for one input at a time: group the masks, solve, certify."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.decoy._grid import Mask
from surefoot.decoy._joint import solve_jointly
from surefoot.decoy._layer import Trunk, repeated
from surefoot.decoy._layers import Choice
from surefoot.decoy._plan import Plan
from surefoot.decoy._settings import Settings
from surefoot.decoy._solve import Model, Problem, gathered, kept_rows, learn, solve
from surefoot.errors import SurefootError
from surefoot.gradients import single

_DENSE = 2**23  # elements of linear models held at once; where one mask has twice that, first order
_SHARED = 2**27  # elements of what the linear models of all masks of an input are made of
_COLUMNS = 2**9  # features a linear programme may have
_CHEAP = 3 * 2**20  # input elements a round of "thorough" may touch where "auto" chooses it
_LIGHT = 2**26  # multiplications of one iteration of all programmes, likewise
_ROUNDS = {"fast": 1, "thorough": 12}
_MARGIN = 2e-3  # of epsilon, left for rounding in other batch sizes
_SINGLE = 4  # bytes of single precision
_RETREATS = (0.9, 0.7, 0.5, 0.25, 0.1, 0.0)


class Part(NamedTuple):
    """Some decoys of one input, as the search yields them.

    Attributes:
        inputs: (R, ...), the decoys.
        which: (R,), their numbers in 0..M-1.
        deviation: (R,), see `Decoys`.
        swing: (R,), see `Decoys`.
    """

    inputs: Tensor
    which: Tensor
    deviation: Tensor
    swing: Tensor


class _Reference(NamedTuple):
    """One input at the layer: what deviations are measured from, and in which unit."""

    sample: Tensor  # (1, ...)
    extra: Mapping[str, Tensor]
    wide: Mapping[str, Tensor]  # the same in single precision at least
    clean: Tensor  # (1, m), at the trunk
    quick: Tensor  # (1, m), at the quick trunk
    scale: Tensor  # ()
    unit: Tensor  # (), epsilon in numbers of the layer, less what rounding may eat


@dataclass(frozen=True)
class Search:
    """A decoy search but for the input; `of` runs it on one.

    Attributes:
        trunk: the model below the layer, on which decoys are certified.
        quick: the same up to rounding, in single precision at least, on which they are searched.
        plan: the masks.
        low: one input's lower bounds.
        high: one input's upper bounds.
        settings: epsilon, units, cap, seed and effort.
        choice: the layer, whether it is a cut, and how it was chosen.
    """

    trunk: Trunk
    quick: Trunk
    plan: Plan
    low: Tensor
    high: Tensor
    settings: Settings
    choice: Choice

    def of(self, sample: Tensor, extra: Mapping[str, Tensor]) -> Iterator[Part]:
        """The decoys of one input (1, ...), a few at a time: memory does not grow with M.

        An input is treated alone, so that its decoys do not depend on a batch.
        """
        # A generator must not hold a no_grad block open across its yields.
        with torch.no_grad():
            reference = self._reference(sample.detach(), extra)
            learnt = self._learnt(reference)
        for which in self._groups(sample, self.plan.masks):
            with torch.no_grad():
                problem = self._problem(reference, [self.plan.masks[k] for k in which])
                offsets = self._offsets(problem, learnt)
                part = self._certify(problem, offsets, which, reference)
            yield part

    @property
    def count(self) -> int:
        """Number of decoys of an input, M."""
        return 2 * len(self.plan.masks)

    def _reference(self, sample: Tensor, extra: Mapping[str, Tensor]) -> _Reference:
        clean = single(self.trunk(sample, extra).flatten(1))
        scale = self._scale(clean)
        copies = sample.flatten(1).repeat(3, 1)
        rounding = (self._outputs(self.trunk, copies, sample, extra) - clean).abs().max()
        if sample.dtype.itemsize < _SINGLE:
            rounding = rounding + torch.finfo(sample.dtype).eps / 8 * clean.abs().max()
        unit = scale * self.settings.epsilon * (1 - _MARGIN) - 4 * rounding
        unit = unit.clamp_min(torch.finfo(unit.dtype).tiny)
        wide = {
            name: single(value) if value.is_floating_point() else value
            for name, value in extra.items()
        }
        quick = self.quick(single(sample), wide).flatten(1)
        return _Reference(sample, extra, wide, clean, quick, scale, unit)

    def _scale(self, clean: Tensor) -> Tensor:
        if self.settings.units == "absolute":
            return clean.new_ones(())
        scale = clean.square().mean().sqrt()
        if not scale > 0:
            raise SurefootError(
                f"layer {self.trunk.layer!r} is zero everywhere for an input, so epsilon in rms "
                'units has no size; choose another layer or units="absolute"'
            )
        return scale

    def _outputs(
        self, trunk: Trunk, rows: Tensor, sample: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        """The layer's outputs (R, m) for flat variants (R, F) of one input."""
        shaped = rows.view(len(rows), *sample.shape[1:])

        def compute(block: Block) -> Tensor:
            some = shaped[block.samples]
            return single(trunk(some, repeated(extra, len(some))).flatten(1))

        if torch.is_grad_enabled():
            return compute(Block(slice(None), slice(0, 1)))
        parts = each_block(len(rows), 1, rows_per_batch(sample, None), compute)
        return torch.cat([outputs for _, outputs in parts])

    def _groups(self, sample: Tensor, masks: tuple[Mask, ...]) -> Iterator[list[int]]:
        """Masks solved side by side: as many as keep the linear models small."""
        limit = max(1, rows_per_batch(sample, None) // 2)
        group: list[int] = []
        for k, mask in enumerate(masks):
            size = mask.outputs.numel() * mask.features.shape[1]
            if group and len(group) >= min(limit, _DENSE // max(1, size)):
                yield group
                group = []
            group.append(k)
        yield group

    def _learnt(self, reference: _Reference) -> Callable[[Problem], Model] | None:
        """Linear models at the input of the blocks with sign +1, if all are learnt at once."""
        plan, size = self.plan.stencil, reference.clean.shape[1]
        thorough = self._effort(self.plan.columns, reference.sample) == "thorough"
        if plan is None or thorough or plan.count * size > _SHARED:
            return None
        plan = plan.to(reference.clean.device)
        learnt = learn(self._problem(reference, [self.plan.masks[0]]), plan)
        return partial(gathered, learnt=learnt, plan=plan)

    def _problem(self, reference: _Reference, masks: list[Mask]) -> Problem:
        x = single(reference.sample.flatten())
        low, high = self.low.flatten().to(x), self.high.flatten().to(x)
        if (cap := self.settings.cap) is not None:
            low, high = torch.maximum(low, x - cap), torch.minimum(high, x + cap)
        seen = self.plan.features_seen(reference.sample).flatten()
        low, high = torch.where(seen, low, x), torch.where(seen, high, x)
        features, outputs, row = _side_by_side(masks, reference)
        total = reference.clean.shape[1]
        sign = x.new_ones(len(row), 1)
        return Problem(
            deviate=lambda rows: self._change(rows, reference),
            x=_padded(x),
            low=_padded(low),
            high=_padded(high),
            row=torch.cat([row, row + len(masks)]),
            sign=torch.cat([sign, -sign]),
            features=features.repeat(2, 1),
            outputs=outputs.clamp_max(total - 1).repeat(2, 1),
            absent=(outputs == total).repeat(2, 1),
            rows=2 * len(masks),
        )

    def _change(self, rows: Tensor, reference: _Reference) -> Tensor:
        """How far rows (R, F) are from the input at the quick trunk, in units of epsilon."""
        found = self._outputs(self.quick, rows, reference.sample, reference.wide)
        if torch.is_grad_enabled():
            return (found - reference.quick) / reference.unit
        return found.sub_(reference.quick).div_(reference.unit)

    def _effort(self, columns: int, sample: Tensor) -> Literal["fast", "thorough"]:
        if self.settings.effort != "auto":
            return self.settings.effort
        masks = self.plan.masks
        touched = 2 * len(masks) * columns * sample[0].numel()
        rows = max(kept_rows(mask.outputs.shape[1], columns) for mask in masks)
        work = sum(len(mask.features) for mask in masks) * rows * columns**2
        return "thorough" if touched <= _CHEAP and work <= _LIGHT else "fast"

    def _offsets(self, problem: Problem, learnt: Callable[[Problem], Model] | None) -> Tensor:
        columns = problem.features.shape[1]
        effort = self._effort(columns, problem.x[None])
        if problem.outputs.numel() // 2 * columns > 2 * _DENSE or columns > _COLUMNS:
            return solve_jointly(problem, self.settings.seed, effort)
        model = learnt and learnt(problem.first_half())
        return solve(problem, _ROUNDS[effort], effort == "thorough", model)

    def _certify(
        self, problem: Problem, u: Tensor, which: list[int], reference: _Reference
    ) -> Part:
        """Measure the finished decoys afresh; blocks that fail retreat, at last to the input."""
        sample, limit = reference.sample, self.settings.epsilon
        for share in _RETREATS:
            decoys = self._rounded(problem.place(u), sample)
            change = self._outputs(self.trunk, decoys, sample, reference.extra) - reference.clean
            sizes = change.abs() / reference.scale
            deviation = sizes.amax(1)
            failed = ~(deviation <= limit)
            if not failed.any():
                break
            # Where no block owns the outputs that fail, all blocks of that decoy retreat.
            own = ~(problem.own(sizes).amax(1) <= limit)
            owned = torch.zeros_like(failed).index_put_((problem.row,), own, accumulate=True)
            back = failed[problem.row] & (own | ~owned[problem.row])
            u = torch.where(back[:, None], share * u, u)
        sign = problem.sign.view(2, -1)[:, :1].repeat_interleave(len(which), 0)
        swing = self._swing(decoys, sign, problem)
        numbers = torch.tensor([2 * k + i for i in (0, 1) for k in which], device=sample.device)
        return Part(decoys.view(len(decoys), *sample.shape[1:]), numbers, deviation, swing)

    def _rounded(self, decoys: Tensor, sample: Tensor) -> Tensor:
        """Decoys in the type of the input, still in the box."""
        if decoys.dtype == sample.dtype:
            return decoys
        return decoys.to(sample).clamp(self.low.flatten(), self.high.flatten())

    def _swing(self, decoys: Tensor, sign: Tensor, problem: Problem) -> Tensor:
        low, high, x = self.low.flatten(), self.high.flatten(), problem.x[:-1]
        inside = x.new_zeros(len(decoys), len(x) + 1)
        inside[problem.row[:, None], problem.features] = 1
        inside = inside[:, :-1] * self.plan.features_seen(self.low[None]).flatten()
        room = torch.where(sign > 0, high - x, x - low) * inside
        gone = (sign * (decoys - x)).clamp_min(0) * inside
        total = room.sum(1)
        return torch.where(total > 0, gone.sum(1) / total.clamp_min(1e-12), 0.0)


def _padded(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, 1))


def _side_by_side(masks: list[Mask], reference: _Reference) -> tuple[Tensor, Tensor, Tensor]:
    """The masks' blocks one after the other: features (B, n), outputs (B, L), decoy row (B,)."""
    total, device = reference.clean.shape[1], reference.clean.device
    longest = max(mask.outputs.shape[1] for mask in masks)
    outputs = [
        torch.nn.functional.pad(m.outputs, (0, longest - m.outputs.shape[1]), value=total)
        for m in masks
    ]
    row = torch.cat([m.features.new_full((len(m.features),), k) for k, m in enumerate(masks)])
    features = torch.cat([mask.features for mask in masks])
    return features.to(device), torch.cat(outputs).to(device), row.to(device)
