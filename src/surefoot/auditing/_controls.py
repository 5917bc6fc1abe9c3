"""What every score stands beside: random signs of the same size, and a map that ignores the model.

The random map is perfectly robust and useless; a method that is no better than it where the model
matters is robust for the wrong reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from surefoot import draws
from surefoot.attack import RandomSign
from surefoot.budget import Budget
from surefoot.explain import Explainer
from surefoot.gradients import Query

RANDOM_MAP = "random map"
RANDOM_SIGNS = "random signs"


@dataclass(frozen=True, repr=False)
class RandomMap(Explainer):
    """The same uniform random map for every input, model and target: perfectly robust, useless.

    Args:
        seed: of the map.
    """

    seed: int = field(default=0, kw_only=True)

    def attribute(self, request: Query) -> Tensor:
        return draws.uniform(self.seed, slice(0, 1), request.inputs).expand_as(request.inputs)


def random_signs(budget: Budget, number: int, seed: int) -> tuple[RandomSign, ...]:
    """`number` draws of random signs to the surface of the budget's ball, seeds from `seed` on."""
    plain = replace(budget, steps=1, step_size=None, restarts=1, random_start=False)
    return tuple(RandomSign(plain, seed=seed + draw) for draw in range(number))


def control_names(signs: Sequence[RandomSign]) -> list[str]:
    """A name for each of several controls: what tells them apart."""
    if len(signs) == 1:
        return [RANDOM_SIGNS]
    short = [f"{RANDOM_SIGNS} {one.budget.norm} {one.budget.radius:.4g}" for one in signs]  # type: ignore[union-attr]
    if len(set(short)) == len(short):
        return short
    return [f"{RANDOM_SIGNS} {one.budget!r}" for one in signs]
