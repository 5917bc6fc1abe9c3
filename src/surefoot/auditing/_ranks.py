"""Ranks of one launch, as of torchrun or srun, that share the blocks out without a scheduler."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from surefoot.errors import SurefootError
from surefoot.files import write_whole

_OFTEN = 0.2  # seconds between looks into the folder
_NAMES = (
    ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID"),
)


@dataclass(frozen=True)
class Ranks:
    """This process among those of one launch.

    Attributes:
        rank: its number, from 0; the first one keeps the books.
        world: how many there are.
        launch: what tells this launch from those before.
    """

    rank: int
    world: int
    launch: str

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Ranks":
        """As the launcher says.

        Raises:
            SurefootError: nobody launched ranks.
        """
        for rank, world, launch in _NAMES:
            if rank in environment and world in environment:
                again = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
                port = environment.get("MASTER_PORT", "")
                named = f"{environment.get(launch, '')}-{port}-{again}"
                return cls(int(environment[rank]), int(environment[world]), named)
        raise SurefootError(
            "there are no ranks: neither RANK and WORLD_SIZE nor SLURM_PROCID and SLURM_NTASKS are "
            "set; start with torchrun or srun"
        )

    def mine(self, blocks: list[int]) -> list[int]:
        """This rank's share."""
        return blocks[self.rank :: self.world]

    def _sign(self, folder: Path) -> Path:
        return folder / f".surefoot-launch-{self.launch}"

    @contextmanager
    def called(self, folder: Path) -> Iterator[None]:
        """Inside, the other ranks work; for the first rank, once all is ready."""
        for old in folder.glob(".surefoot-launch-*"):
            old.unlink(missing_ok=True)
        write_whole(self._sign(folder), b"")
        try:
            yield
        finally:
            self._sign(folder).unlink(missing_ok=True)

    def wait_for_call(self, folder: Path) -> None:
        """Until the first rank is ready."""
        while not self._sign(folder).exists():
            time.sleep(_OFTEN)

    def wait_for_end(self, folder: Path) -> None:
        """Until the first rank is done."""
        while self._sign(folder).exists():
            time.sleep(_OFTEN)
