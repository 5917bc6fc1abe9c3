"""The decoy search for one input at a time: group the masks, solve, certify."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.decoy._geometry import Mask, Plan
from surefoot.decoy._joint import solve_jointly
from surefoot.decoy._layer import Trunk
from surefoot.decoy._settings import Settings
from surefoot.decoy._solve import Problem, solve
from surefoot.errors import SurefootError

_DENSE = 2**23  # elements of a linear model held at once; where one mask has more, first order
_COLUMNS = 2**9  # features a linear programme may have
_CHEAP = 2**22  # input elements a round of "thorough" may touch where "auto" chooses it
_ROUNDS = {"fast": 1, "thorough": 12}
_MARGIN = 2e-3  # of epsilon, left for rounding in other batch sizes
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
    clean: Tensor  # (1, m)
    scale: Tensor  # ()
    unit: Tensor  # (), epsilon in numbers of the layer, less what rounding may eat


@dataclass(frozen=True)
class Search:
    """A decoy search but for the input; `of` runs it on one.

    Attributes:
        trunk: the model below the layer.
        plan: the masks.
        low: one input's lower bounds.
        high: one input's upper bounds.
        settings: epsilon, units, cap, seed and effort.
    """

    trunk: Trunk
    plan: Plan
    low: Tensor
    high: Tensor
    settings: Settings

    def of(self, sample: Tensor, extra: Mapping[str, Tensor]) -> Iterator[Part]:
        """The decoys of one input (1, ...), a few at a time: memory does not grow with M.

        An input is treated alone, so that its decoys do not depend on a batch.
        """
        # A generator must not hold a no_grad block open across its yields.
        with torch.no_grad():
            reference = self._reference(sample.detach(), extra)
        for which in self._groups(sample):
            with torch.no_grad():
                problem = self._problem(reference, which)
                part = self._certify(problem, self._offsets(problem), which, reference)
            yield part

    @property
    def count(self) -> int:
        """Number of decoys of an input, M."""
        return 2 * len(self.plan.masks)

    def _reference(self, sample: Tensor, extra: Mapping[str, Tensor]) -> _Reference:
        clean = self.trunk(sample, extra).flatten(1)
        scale = self._scale(clean)
        copies = sample.flatten(1).repeat(3, 1)
        rounding = (self._outputs(copies, sample, extra) - clean).abs().max()
        unit = scale * self.settings.epsilon * (1 - _MARGIN) - 4 * rounding
        unit = unit.clamp_min(torch.finfo(unit.dtype).tiny)
        return _Reference(sample, extra, clean, scale, unit)

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

    def _outputs(self, rows: Tensor, sample: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """The layer's outputs (R, m) for flat variants (R, F) of one input."""
        shaped = rows.view(len(rows), *sample.shape[1:])

        def compute(block: Block) -> Tensor:
            some = shaped[block.samples]
            more = {
                name: value.expand(len(some), *value.shape[1:]) for name, value in extra.items()
            }
            return self.trunk(some, more).flatten(1)

        if torch.is_grad_enabled():
            return compute(Block(slice(None), slice(0, 1)))
        parts = each_block(len(rows), 1, rows_per_batch(sample, None), compute)
        return torch.cat([outputs for _, outputs in parts])

    def _groups(self, sample: Tensor) -> Iterator[list[int]]:
        """Masks solved side by side: of one size, and as many as keep the linear models small."""
        masks = self.plan.masks
        limit = max(1, rows_per_batch(sample, None) // 2)
        group: list[int] = []
        for k, mask in enumerate(masks):
            size = mask.outputs.numel() * mask.features.shape[1]
            fits = len(group) < min(limit, _DENSE // size)
            alike = group and mask.features.shape[1] == masks[group[0]].features.shape[1]
            if group and not (fits and alike):
                yield group
                group = []
            group.append(k)
        yield group

    def _problem(self, reference: _Reference, which: list[int]) -> Problem:
        x, low, high = (t.flatten() for t in (reference.sample, self.low, self.high))
        if (cap := self.settings.cap) is not None:
            low, high = torch.maximum(low, x - cap), torch.minimum(high, x + cap)
        features, outputs, row = _side_by_side([self.plan.masks[k] for k in which], reference)
        sign = torch.ones(len(row), 1).to(x)
        return Problem(
            deviate=lambda rows: self._change(rows, reference) / reference.unit,
            x=x,
            low=low,
            high=high,
            row=torch.cat([row, row + len(which)]),
            sign=torch.cat([sign, -sign]),
            features=features.repeat(2, 1),
            outputs=outputs.repeat(2, 1),
            rows=2 * len(which),
        )

    def _change(self, rows: Tensor, reference: _Reference) -> Tensor:
        return self._outputs(rows, reference.sample, reference.extra) - reference.clean

    def _offsets(self, problem: Problem) -> Tensor:
        columns = problem.features.shape[1]
        if problem.outputs.numel() // 2 * columns > _DENSE or columns > _COLUMNS:
            return solve_jointly(problem, self.settings.seed)
        effort = self.settings.effort
        if effort == "auto":
            touched = 2 * len(self.plan.masks) * columns * problem.x.numel()
            effort = "thorough" if touched <= _CHEAP else "fast"
        return solve(problem, _ROUNDS[effort], effort == "thorough")

    def _certify(
        self, problem: Problem, u: Tensor, which: list[int], reference: _Reference
    ) -> Part:
        """Measure the finished decoys afresh; one that fails retreats, at last to the input."""
        for share in _RETREATS:
            decoys = problem.place(u)
            deviation = self._change(decoys, reference).abs().amax(1) / reference.scale
            failed = ~(deviation <= self.settings.epsilon)
            if not failed.any():
                break
            u = torch.where(failed[problem.row][:, None], share * u, u)
        sign = problem.sign.view(2, -1)[:, :1].repeat_interleave(len(which), 0)
        swing = self._swing(decoys, sign, problem)
        numbers = torch.tensor([2 * k for k in which] + [2 * k + 1 for k in which])
        shaped = decoys.view(len(decoys), *reference.sample.shape[1:])
        return Part(shaped, numbers, deviation, swing)

    def _swing(self, decoys: Tensor, sign: Tensor, problem: Problem) -> Tensor:
        low, high = self.low.flatten(), self.high.flatten()
        inside = torch.zeros_like(decoys)
        inside[problem.row[:, None], problem.features] = 1
        room = torch.where(sign > 0, high - problem.x, problem.x - low) * inside
        gone = (sign * (decoys - problem.x)).clamp_min(0) * inside
        total = room.sum(1)
        return torch.where(total > 0, gone.sum(1) / total.clamp_min(1e-12), 0.0)


def _side_by_side(masks: list[Mask], reference: _Reference) -> tuple[Tensor, Tensor, Tensor]:
    """The masks' blocks one after the other: features (B, n), outputs (B, L), decoy row (B,)."""
    total, device = reference.clean.shape[1], reference.clean.device
    longest = max(mask.outputs.shape[1] for mask in masks)
    outputs = [
        torch.nn.functional.pad(m.outputs, (0, longest - m.outputs.shape[1]), value=total)
        for m in masks
    ]
    row = torch.arange(len(masks)).repeat_interleave(torch.tensor([len(m.features) for m in masks]))
    features = torch.cat([mask.features for mask in masks])
    return features.to(device), torch.cat(outputs).to(device), row.to(device)
