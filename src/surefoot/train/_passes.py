"""What one step of an objective costs, in passes of the batch through the model."""

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Passes:
    """How often the batch goes through the model, by what is done with it; a unit's time is one.

    Where two gradients share a forward pass, `forward` counts the saving and may be negative.

    Attributes:
        forward: a forward pass alone.
        input_gradient: forward, and backward to the inputs.
        parameters: forward, and backward to the parameters: a step of natural training.
        second_inputs: forward, input gradient, and backward through it to the inputs.
        second_parameters: forward, input gradient, and backward through it to the parameters.

    >>> Passes(parameters=2) + 3 * Passes(input_gradient=1)
    Passes(forward=0, input_gradient=3, parameters=2, second_inputs=0, second_parameters=0)
    """

    forward: int = 0
    input_gradient: int = 0
    parameters: int = 0
    second_inputs: int = 0
    second_parameters: int = 0

    @property
    def evaluations(self) -> int:
        """How often each sample goes forward through the model."""
        return sum(self._counts().values())

    def seconds(self, units: Mapping[str, float]) -> float:
        """The time of a step, from the seconds that one pass of each kind takes."""
        return sum(count * units[name] for name, count in self._counts().items() if count)

    def __add__(self, other: "Passes") -> "Passes":
        theirs = other._counts()
        return Passes(**{name: count + theirs[name] for name, count in self._counts().items()})

    def __rmul__(self, times: int) -> "Passes":
        return Passes(**{name: times * count for name, count in self._counts().items()})

    def _counts(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}
