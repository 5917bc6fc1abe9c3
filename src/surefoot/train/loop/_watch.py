"""How a run is watched and where it is written: the settings that its weights do not depend on."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surefoot.checks import check_whole
from surefoot.errors import SurefootError, suggest
from surefoot.train.loop._logs import Log, Progress
from surefoot.train.loop._validation import Validation


@dataclass(frozen=True)
class Watch:
    """How a run is watched and where it is written."""

    held_out: Any
    validation: Validation
    validate_every: int
    checkpoint_every: int
    log_every: int
    best_by: str | None
    out: Path | None
    resume: bool | Literal["longer"]
    logs: tuple[Log, ...]
    progress: Progress
    workers: int

    def check(self) -> None:
        """Raise for numbers out of range, and for a figure to go by that there will not be."""
        for name in ("validate_every", "checkpoint_every", "log_every"):
            check_whole(name, getattr(self, name), 1)
        check_whole("workers", self.workers, 0)
        if self.resume not in (True, False, "longer"):
            raise SurefootError(f'resume={self.resume!r}, expected True, False or "longer"')
        if self.resume and self.out is None:
            raise SurefootError(
                "resume=True without out=; pass the folder of the run to go on with"
            )
        self.validation.check()
        if self.held_out is not None and type(self.validation).scores is Validation.scores:
            self.check_figure(self.validation.names())

    def check_figure(self, names: Collection[str]) -> None:
        """Raise unless the best checkpoint goes by one of the figures that there are."""
        if self.best_by is not None and self.best_by not in names:
            raise SurefootError(
                f"best_by={self.best_by!r} is none of the validation's figures; "
                f"{suggest(self.best_by, names)}"
            )

    @property
    def checkpoints(self) -> Path | None:
        """Their folder."""
        return None if self.out is None else self.out / "checkpoints"
