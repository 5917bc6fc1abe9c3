"""What a decoy search goes by, as one object: built and checked once, at the door."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self, get_args, get_type_hints

from torch import nn

from surefoot import checks
from surefoot.errors import SurefootError
from surefoot.typed import check_kinds

Units = Literal["rms", "absolute"]
Effort = Literal["auto", "fast", "thorough"]
Layers = str | nn.Module | Sequence[str | nn.Module] | None


@dataclass(frozen=True)
class Settings:
    """The settings of `surefoot.decoy.make_decoys`, where they are explained.

    Raises:
        SurefootError: a setting out of range.
    """

    layer: Layers = None
    patch: int = 3
    stride: int | None = None
    epsilon: float = 0.1
    decoys: int = 64
    bounds: checks.Bounds = (0, 1)
    seed: int = 0
    units: Units = "rms"
    cap: float | None = None
    effort: Effort = "auto"

    @classmethod
    def of(cls, source: object) -> Self:
        """The settings that `source` has as attributes of these names."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        check_kinds("decoys", settings, get_type_hints(type(self)))
        if not self.epsilon > 0 or (self.cap is not None and not self.cap > 0):
            raise SurefootError(
                f"epsilon={self.epsilon}, cap={self.cap}: expected positive numbers"
            )
        if self.units not in get_args(Units) or self.effort not in get_args(Effort):
            raise SurefootError(
                f"units={self.units!r}, effort={self.effort!r}: choose of {get_args(Units)}, "
                f"{get_args(Effort)}"
            )
        if self.patch < 1:
            raise SurefootError(f"patch={self.patch}, expected at least 1")
        if self.stride is not None and self.stride < 1:
            raise SurefootError(f"stride={self.stride}, expected None or at least 1")
        if self.decoys < 2:
            raise SurefootError("decoys must be an even number of at least 2: two signs a mask")
