"""What an attack on attributions found."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.explain import Explainer
from surefoot.maps import AnyLayout

if TYPE_CHECKING:
    from surefoot.attack._base import AttributionAttack


@dataclass(frozen=True, repr=False)
class AttackResult:
    """Perturbed inputs, the maps before and after, and what is left of them.

    A sample whose prediction no iterate kept comes back as it was: `label_kept` is False, its
    input is the clean one, its map is the clean one and its scores are those of no damage.

    Attributes:
        attack: the recipe, with the one budget this result belongs to.
        explainer: the recipe that was scored; for a decoy map with another seed than was attacked.
        originals: (N, ...), the clean inputs; of several inputs a tuple, here and below.
        inputs: (N, ...), the perturbed inputs.
        before: (N, ...), attributions of the clean inputs, not reduced.
        after: (N, ...), attributions of the perturbed inputs, not reduced.
        label_kept: (N,) bool, whether the input is a perturbed one that keeps the prediction.
        scores: by name, each (N,), of the maps reduced by the attack's reduction.
        target: (N,), the explained class.
        trace: (restarts, steps + 1, N), the attack's own score after each step, on the attacked
            model and explainer, NaN where not looked at; None if not asked for.
        layout: what the axes of the inputs mean.
        member: (N,), which of `members` found each sample's input, -1 where none did; None for an
            attack that has none.
        members: their names.

    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2))
    >>> found = TopK(Linf(0.1, steps=5), k=4)(net.eval(), torch.rand(3, 20), None, Gradient())
    >>> len(found), found.inputs.shape, sorted(found.scores)[-1]
    (3, torch.Size([3, 20]), 'topk_intersection')
    >>> len(found[0]), bool((found.scores["topk_intersection"] <= 1).all())
    (1, True)
    """

    attack: "AttributionAttack"
    explainer: Explainer
    originals: Tensor
    inputs: Tensor
    before: Tensor
    after: Tensor
    label_kept: Tensor
    scores: Mapping[str, Tensor]
    target: Tensor
    trace: Tensor | None = None
    layout: AnyLayout | None = None
    member: Tensor | None = None
    members: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, which: int | slice | Tensor) -> "AttackResult":
        """The result of some samples; a number gives a batch of one."""
        if isinstance(which, int):
            which = range(len(self))[which]
            which = slice(which, which + 1)
        batched = {name: _each(lambda x: x[which], value) for name, value in self.batched()}
        scores = {name: value[which] for name, value in self.scores.items()}
        trace = None if self.trace is None else self.trace[..., which]
        return replace(self, **batched, scores=scores, trace=trace)

    def batched(self) -> list[tuple[str, Any]]:
        """What has one row a sample, by name; of several inputs a tuple."""
        left = ("trace", "members")
        named = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in left]
        return [(name, value) for name, value in named if isinstance(value, Tensor | tuple)]

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the picture where there is one, and the scores in a table."""
        # An arrow upwards, as of an explanation: whoever looks at a result sees it drawn.
        report = importlib.import_module("surefoot.report")
        try:
            found: str | None = report.attacked_html(self)
        except SurefootError:
            return None
        return found

    def __repr__(self) -> str:
        left = ", ".join(f"{name}={_mean(value)}" for name, value in self.scores.items())
        kept = int(self.label_kept.sum())
        return (
            f"AttackResult({self.attack!r} on {self.explainer!r}: label kept {kept} of "
            f"{len(self)}, mean {left})"
        )


def join_results(results: Sequence[AttackResult]) -> AttackResult:
    """Results of one attack on inputs of one shape as one batch, without their traces.

    It has the scores that all of them have: a mass centre needs maps without negative values.
    """
    first = results[0]
    batched: dict[str, Any] = {
        name: _each(lambda *rows: torch.cat(rows), *(getattr(one, name) for one in results))
        for name, _ in first.batched()
    }
    shared = [name for name in first.scores if all(name in each.scores for each in results)]
    scores = {name: torch.cat([each.scores[name] for each in results]) for name in shared}
    if first.member is not None:
        batched |= _joined_members(results)
    return replace(first, **batched, scores=scores, trace=None)


def _joined_members(results: Sequence[AttackResult]) -> dict[str, Any]:
    """The members of all results in one list, and the numbers in it."""
    names = list(dict.fromkeys(name for each in results for name in each.members))
    numbers = [
        names.index(each.members[found]) if found >= 0 else -1
        for each in results
        if each.member is not None
        for found in each.member.tolist()
    ]
    return {"member": torch.tensor(numbers).to(results[0].target), "members": tuple(names)}


def _each(make: Callable[..., Tensor], *values: Any) -> Any:
    """`make` of tensors, or of those of each input in turn."""
    if isinstance(values[0], tuple):
        return tuple(make(*some) for some in zip(*values, strict=True))
    return make(*values)


def _mean(values: Tensor) -> str:
    known = values[~torch.isnan(values)].double()
    return f"{float(known.mean()):.3f}" if len(known) else "nan"
