"""The members of the ensemble, and which of them take part.

They differ in what makes single attacks fail: what rises, the surrogate, the start, how far steps
and differences reach, and the order of the derivative. A few ways to climb are tried first; what
follows goes on with those that got furthest on each sample. The order is that of the damage added
for the cost in benchmarks/ensemble.py.
"""

from dataclasses import dataclass, replace
from typing import Literal

Effort = Literal["quick", "standard", "thorough"]
Start = Literal["clean", "random", "normal", "best"]


@dataclass(frozen=True)
class Way:
    """How slopes are taken.

    Attributes:
        sharpness: of the surrogate, in units of what enters each activation; None for the model.
        order: of the derivative: "finite" where it can, or "exact".
    """

    sharpness: float | None = None
    order: Literal["finite", "exact"] = "finite"

    @property
    def name(self) -> str:
        """In words; none for the model as it is."""
        words = [] if self.sharpness is None else [f"softplus {self.sharpness:g}"]
        return ", ".join([*words, *(["exact"] if self.order == "exact" else [])])


@dataclass(frozen=True)
class Member:
    """One search.

    Attributes:
        objective: what rises; 0 and 1 are the metric's stand-ins.
        start: the clean input, a random point, a point along the normal of the decision (towards
            more of the clean class), or the best iterate so far.
        share: of epsilon, the first step; steps fall linearly from it.
        rank: how it takes slopes: of the ways tried, by the one that got furthest on each sample
            (0), or the second (1).
    """

    objective: Literal[0, 1] = 0
    start: Start = "best"
    share: float = 1.0
    rank: Literal[0, 1] = 0

    def name(self, way: Way, objectives: tuple[str, ...]) -> str:
        """In words."""
        words = [objectives[self.objective], *([way.name] if way.name else [])]
        words += [f"from {self.start}"]
        return ", ".join([*words, *([f"steps x {self.share:g}"] if self.share != 1 else [])])


@dataclass(frozen=True)
class Stage:
    """A part of an effort.

    Attributes:
        ways: tried first, each from the clean input with the first objective.
        members: what follows, in order, by the ways tried so far.
    """

    ways: tuple[Way, ...]
    members: tuple[Member, ...]

    def __len__(self) -> int:
        return len(self.ways) + len(self.members)


_SMOOTH, _EXACT = 30.0, 10.0

_STANDARD = Stage(
    (Way(), Way(sharpness=_SMOOTH)),
    (
        Member(share=0.25),
        Member(1, "random"),
        Member(share=0.25),
        Member(1, "random"),
        Member(share=0.125),
        Member(1, "random"),
        Member(share=0.5),
        Member(0, "random"),
        Member(share=0.25),
        Member(1, "random"),
        Member(1, share=0.25),
        Member(share=0.25, rank=1),
        Member(1, "random"),
        Member(share=0.125),
        Member(0, "normal"),
        Member(1, "random"),
        Member(share=0.25),
        Member(share=0.0625),
    ),
)
_MORE = (
    Member(1, "random"),
    Member(share=0.25),
    Member(0, "random", rank=1),
    Member(share=0.25, rank=1),
    Member(share=0.125),
    Member(share=0.0625),
)

PLANS: dict[Effort, tuple[Stage, ...]] = {
    "quick": (Stage(_STANDARD.ways, (Member(share=0.25), Member(share=0.125))),),
    "standard": (_STANDARD,),
    "thorough": (
        _STANDARD,
        Stage((Way(sharpness=_EXACT), Way(sharpness=3.0, order="exact")), 3 * _MORE),
    ),
}


def searches(effort: Effort) -> int:
    """How many searches of a sample an effort takes."""
    return sum(map(len, PLANS[effort]))


def adapted(way: Way, *, kinks: bool, finite: bool, decoy: bool) -> Way:
    """The way as it suits a model and an explainer.

    Args:
        way: as planned.
        kinks: whether the model has any; without them there is no surrogate.
        finite: whether finite differences know the explainer; double backward sees nothing of a
            network of straight pieces.
        decoy: whether the map is a range over decoys, whose slope is what is left of slopes that
            nearly cancel, so that it needs the surrogate.
    """
    if not kinks:
        return replace(way, sharpness=None)
    if way.sharpness is None and (decoy or not finite):
        return replace(way, sharpness=_EXACT)
    return way
