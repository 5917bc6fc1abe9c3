"""Examples drawn by hypothesis until there were so many calls."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed as seeded, settings
from hypothesis.strategies import SearchStrategy

from fuzz._outcome import Tally

# Of one seed: hypothesis remembers all that it has drawn, and slows down.
_AT_ONCE = 2000


def shaken(
    strategy: SearchStrategy[Any],
    shake: Callable[[Any], object],
    tally: Tally,
    number: int,
    seed: int,
) -> Tally:
    """Shake what the strategy draws, with seeds from `seed` on, until `tally` has so many calls."""
    while tally.calls < number:
        before = tally.calls

        @seeded(seed)
        @settings(
            max_examples=min(number - before, _AT_ONCE),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def every(one: Any) -> None:
            shake(one)

        every()
        seed += 1
        if tally.calls == before:
            break
    return tally
