"""The work on one block: a function of its number and of what all blocks share."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from surefoot.auditing import _parts
from surefoot.auditing._loader import Batch
from surefoot.auditing._plan import Plan
from surefoot.auditing._source import Piece, Source, Tally, joined
from surefoot.auditing._unit import Rows, measured
from surefoot.files import check_entries, parse_json

if TYPE_CHECKING:
    import pyarrow as pa

_RECORD = b"surefoot"


class Done(NamedTuple):
    """A block's rows, and what is to be known of it: counts, seconds, digest of its samples."""

    table: "pa.Table"
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Work:
    """What all blocks share.

    Attributes:
        plan: what is measured.
        source: the samples.
        names: of the samples, by number; None if they have none.
        identity: digest of the settings that the results depend on.
    """

    plan: Plan
    source: Source
    names: Sequence[str] | None
    identity: str

    def table(self, rows: Iterable[Rows]) -> "pa.Table":
        """Rows as a part has them."""
        return _parts.table(rows, self.names)

    def block(self, number: int) -> Done:
        """One block, read by itself."""
        return self.measure(number, self.source.pieces(only=number))

    def measure(
        self, number: int, pieces: Iterable[Piece], tick: Callable[[], None] = lambda: None
    ) -> Done:
        """A block from its pieces; `tick` is called after each unit of each batch."""
        tally, digest, began = Tally(), hashlib.sha256(), time.perf_counter()
        seconds: dict[str, float] = {}
        rows: list[list[Rows]] = [[] for _ in self.plan.units()]

        def counted() -> Iterator[Batch]:
            for piece in pieces:
                tally.add(piece.tally)
                digest.update(piece.digest.encode())
                yield piece.batch

        for batch in joined(counted(), self.source.size):
            for unit, found in zip(self.plan.units(), rows, strict=True):
                start = time.perf_counter()
                found.extend(measured(unit, batch))
                key = json.dumps([unit.model[0], unit.explainer[0], unit.attack])
                seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - start
                tick()
        table = self.table(some for found in rows for some in found)
        errors = {some.numbers[0].item() for found in rows for some in found if some.error}
        record = {
            "block": number,
            **asdict(tally),
            "failed": len(errors),
            "data": digest.hexdigest(),
            "audit": self.identity,
            "seconds": {key: round(value, 4) for key, value in seconds.items()},
            "wall": round(time.perf_counter() - began, 4),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
        return Done(table.replace_schema_metadata({_RECORD: json.dumps(record)}), record)


_TOLD = {
    **dict.fromkeys((*("block", "seen", "correct_for_all", "used", "failed"),), int),
    **dict.fromkeys(("audit", "worker"), str),
    "correct": dict[str, int],
    "wall": float,
}


def record_of(table: "pa.Table") -> dict[str, Any]:
    """What a part tells of its block."""
    return check_record(parse_json((table.schema.metadata or {}).get(_RECORD, b""), "a part"))


def check_record(found: Any) -> dict[str, Any]:
    """What is told of a block, as it came; raises unless it tells all that is asked of it."""
    record: dict[str, Any] = found if isinstance(found, dict) else {}
    check_entries(record, _TOLD, "what is told of a block")
    return record


def summed(records: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Of all blocks: the samples, and the number of those on which something failed."""
    total = Tally()
    names = [one.name for one in fields(Tally)]
    for _, record in sorted(records.items()):
        total.add(Tally(**{name: record[name] for name in names}))
    return {"samples": asdict(total), "failed": sum(r["failed"] for r in records.values())}


def limited(pieces: Iterable[Piece], left: int | None) -> Iterator[Piece]:
    """The pieces up to the last sample that is wanted."""
    for piece in () if left == 0 else pieces:
        if left is None:
            yield piece
            continue
        batch = piece.batch[:left]
        left -= len(batch)
        yield piece._replace(batch=batch, tally=replace(piece.tally, used=len(batch)))
        if not left:
            return


@cache
def code_digest() -> str:
    """What tells this version of the library from any other."""
    every = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        every.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return f"sha256:{every.hexdigest()}"
