"""How far an audit is, from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from surefoot.auditing._folder import LOG, Folder
from surefoot.errors import SurefootError


@dataclass(frozen=True)
class Status:
    """How far an audit is.

    Attributes:
        done: finished blocks.
        blocks: all of them; None where their number is not known.
        samples: audited so far.
        failed: of those, the ones on which something failed.
        workers: blocks, and seconds a block, of each process that took part.
        left: seconds, at the pace of the workers so far; None where it cannot be told.
        idle: seconds since the last block was finished.
        finished: when, None while it is not.
    """

    done: int
    blocks: int | None
    samples: int
    failed: int
    workers: Mapping[str, tuple[int, float]]
    left: float | None
    idle: float
    finished: str | None

    def lines(self) -> list[str]:
        """What to print."""
        of = "" if self.blocks is None else f" of {self.blocks}"
        lines = [f"{self.done}{of} blocks, {self.samples} samples audited, {self.failed} failed"]
        if self.finished is not None:
            return [*lines, f"finished {self.finished}"]
        left = "" if self.left is None else f"; about {self.left / 60:.1f} minutes left"
        lines.append(f"last block {self.idle / 60:.1f} minutes ago{left}")
        return lines + [
            f"  {name}: {blocks} blocks, {seconds:.1f} s each"
            for name, (blocks, seconds) in self.workers.items()
        ]


def status(folder: str | Path) -> Status:
    """How far the audit in a folder is.

    Raises:
        SurefootError: there is none.
    """
    place = Folder(Path(folder))
    state = place.state()
    if state is None:
        raise SurefootError(f"{folder} holds no audit: there is no audit.json")
    records = place.records()
    known = state["survey"]["samples"]
    blocks = None if known is None else -(-known // state["audit"]["block"])
    workers: dict[str, list[float]] = {}
    for record in records.values():
        workers.setdefault(record["worker"], []).append(record["wall"])
    means = {name: (len(walls), sum(walls) / len(walls)) for name, walls in workers.items()}
    log = place.path / LOG
    since = (
        log.stat().st_mtime
        if log.exists()
        else datetime.fromisoformat(state["started"]).timestamp()
    )
    return Status(
        done=len(records),
        blocks=blocks,
        samples=sum(record["used"] for record in records.values()),
        failed=sum(record["failed"] for record in records.values()),
        workers=means,
        left=_left(blocks, len(records), means),
        idle=max(0.0, datetime.now(UTC).timestamp() - since),
        finished=state.get("finished"),
    )


def _left(blocks: int | None, done: int, means: Mapping[str, tuple[int, float]]) -> float | None:
    if blocks is None or not means:
        return None
    pace = sum(1 / max(seconds, 1e-9) for _, seconds in means.values())
    return (blocks - done) / pace
