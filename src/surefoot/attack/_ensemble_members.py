"""The members of the ensemble, and which of them take part.

They differ in what makes single attacks fail: what rises, the surrogate, the start, how far steps
and differences reach, and the order of the derivative. A few ways to climb are tried first, the
default attack's among them; then come its restarts, so that the ensemble is never the weaker one;
what follows goes on with the ways that got furthest on each sample. Members and order are those of
the sequences tried that left least in benchmarks/ensemble.py and on small random networks.
"""

from dataclasses import dataclass, replace
from typing import Literal

from surefoot.attack._smooth import DEFAULT

Effort = Literal["quick", "standard", "thorough"]
Start = Literal["clean", "random", "normal", "best"]


@dataclass(frozen=True)
class Way:
    """How slopes are taken.

    Attributes:
        sharpness: of the surrogate; None for the model.
        order: of the derivative: "finite" where it can, or "exact".
        relative: whether sharpness counts in units of what enters each activation.
        first: what rises when it is tried; 0 and 1 are the metric's stand-ins.
    """

    sharpness: float | None = None
    order: Literal["finite", "exact"] = "finite"
    relative: bool = True
    first: Literal[0, 1] = 0

    @property
    def name(self) -> str:
        """In words; none for the model as it is."""
        words = [] if self.sharpness is None else [f"softplus {self.sharpness:g}"]
        words += [] if self.relative or self.sharpness is None else ["absolute"]
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
            (0), or the second (1); None for the default attack's.
    """

    objective: Literal[0, 1] = 0
    start: Start = "best"
    share: float = 1.0
    rank: Literal[0, 1, None] = 0

    def name(self, way: Way, objectives: tuple[str, ...]) -> str:
        """In words."""
        words = [objectives[self.objective], *([way.name] if way.name else [])]
        words += [f"from {self.start}"]
        return ", ".join([*words, *([f"steps x {self.share:g}"] if self.share != 1 else [])])


@dataclass(frozen=True)
class Stage:
    """A part of an effort.

    Attributes:
        ways: tried first, each from the clean input with its own first objective.
        members: what follows, by the ways tried so far: in order, and again from the start as long
            as a sample may cost more.
        cost: what a sample may have cost at the end, in default attacks.
    """

    ways: tuple[Way, ...]
    members: tuple[Member, ...]
    cost: float


_SMOOTH, _EXACT = 30.0, 10.0
_DEFAULT = Way(DEFAULT, relative=False, first=1)  # TopK's, as it is

_RESTARTS = 9  # with the run from the clean input ten, drawn as TopK(restarts=10) draws them

_STANDARD = Stage(
    (_DEFAULT, Way(), Way(sharpness=_SMOOTH)),
    (
        *_RESTARTS * [Member(1, "random", rank=None)],
        Member(share=0.25),
        Member(share=0.5),
        Member(share=0.25),
        Member(share=0.25, rank=1),
        Member(share=0.125),
        Member(0, "random"),
        Member(1, share=0.25),
        Member(0, "normal"),
        Member(share=0.25),
        Member(share=0.0625),
    ),
    20,
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
    "quick": (Stage(_STANDARD.ways, (Member(share=0.25), Member(share=0.125)), 4),),
    "standard": (_STANDARD,),
    "thorough": (
        _STANDARD,
        Stage((Way(sharpness=_EXACT), Way(sharpness=3.0, order="exact")), _MORE, 40),
    ),
}


def cost(effort: Effort) -> float:
    """What an effort may cost, in default attacks."""
    return PLANS[effort][-1].cost


def passes(way: Way, *, finite: bool) -> int:
    """Gradients of a step: of the model for the scored map, and what the slope takes beside it.

    Where finite differences do not know the explainer, all is double backward and costs the same.
    """
    if not finite or way.order == "exact":
        return 3
    return 2 if way.sharpness is None else 3


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
