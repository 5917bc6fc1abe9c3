"""What an ensemble has found so far, and which of its members found it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from surefoot.attack._search import Best


@dataclass
class Found(Best):
    """Each sample's best iterates, with the member that each came from.

    Attributes:
        apart: whether a member holds one slot of a sample at most, so that those who judge by other
            maps than the search's choose among members and not among one's last steps.
        at_work: the member that searches now.
        names: of all members, as they came to work.
        reached: for each of them, the most damage that it found by itself, (N,).
        members: (C, N), the member that found it; -1 where there is none.
        lost: (N, ...), the iterate that damages most of those that lost the prediction.
        lost_damage: (N,), its damage; minus infinity where there is none.
    """

    apart: bool = False
    at_work: int = -1
    names: list[str] = field(default_factory=list)
    reached: list[Tensor] = field(default_factory=list)
    members: Tensor = field(init=False)
    lost: Tensor = field(init=False)
    lost_damage: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.members = torch.full_like(self.damage, -1, dtype=torch.long)
        self.lost = self.clean.clone()
        self.lost_damage = self.damage[0].clone()

    def begin(self, name: str) -> None:
        """What is noted from now on is found by this member."""
        self.names.append(name)
        self.reached.append(torch.full_like(self.damage[0], -torch.inf))
        self.at_work = len(self.names) - 1

    @property
    def most(self) -> Tensor:
        """The best damage of each sample, (N,)."""
        return self.damage.amax(0)

    @property
    def points(self) -> Tensor:
        """The best iterate of each sample, (N, ...); the clean input where there is none."""
        everyone = torch.arange(self.count, device=self.damage.device)
        return self.inputs[self.damage.argmax(0), everyone].clone()

    def note(self, which: Tensor, points: Tensor, damage: Tensor, kept: Tensor) -> None:
        """Remember what is better, by whom, and what would be if its prediction were kept."""
        before = self.damage[:, which].clone()
        super().note(which, points, damage, kept)
        slot, place = (self.damage[:, which] != before).nonzero(as_tuple=True)
        self.members[slot, which[place]] = self.at_work
        damage = damage.to(self.lost_damage)
        own = self.reached[self.at_work]
        own[which] = torch.where(kept, own[which].maximum(damage), own[which])
        worse = ~kept & (damage > self.lost_damage[which])
        self.lost_damage[which[worse]] = damage[worse]
        self.lost[which[worse]] = points[worse]

    def slot(self, which: Tensor) -> Tensor:
        """The worst slot of each sample, or the one that the member at work holds."""
        mine = self.members[:, which] == self.at_work
        held = mine.any(0) & self.apart
        return torch.where(held, mine.to(torch.uint8).argmax(0), super().slot(which))

    def member_of(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Which member found each of the chosen inputs (N, ...), (N,); -1 for none."""
        result = torch.full_like(self.members[0], -1)
        for points, members in zip(self.inputs, self.members, strict=True):
            same = (points == inputs).flatten(1).all(1) & kept
            result = torch.where(same, members, result)
        return result
