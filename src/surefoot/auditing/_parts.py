"""The rows of an audit, one Parquet part a block: whole or not there, and told apart by digest.

A part's name holds its block's number and the first digits of the SHA-256 of its bytes, so that
renaming it into place writes both in one step, and whoever reads it can tell whether it is whole.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot import errors
from surefoot.auditing._threat import Threat
from surefoot.auditing._unit import Rows
from surefoot.errors import SurefootError

if TYPE_CHECKING:
    import pyarrow as pa

FACTORS = ("model", "explainer", "attack")
KEYS = (*FACTORS, "metric")
FOLDER = "samples"
_DIGITS = 16
_ROWS = 64  # of a part for each of its bytes, beyond which it is none
_TEXTS = (*KEYS, *Threat._fields)


def schema() -> "pa.Schema":
    """The columns of every part."""
    arrow = errors.optional("pyarrow", "audit")
    text = [(name, arrow.string()) for name in _TEXTS]
    return arrow.schema(
        [
            *text[: len(KEYS)],
            ("sample", arrow.int64()),
            ("name", arrow.string()),
            ("label", arrow.int64()),
            ("value", arrow.float64()),
            ("label_kept", arrow.bool_()),
            ("control", arrow.bool_()),
            ("error", arrow.string()),
            *text[len(KEYS) :],
        ]
    )


def table(rows: Iterable[Rows], names: Sequence[str] | None) -> "pa.Table":
    """One row a model, explainer, attack, metric and sample."""
    arrow = errors.optional("pyarrow", "audit")
    parts: dict[str, list[Any]] = {name: [] for name in schema().names}
    texts: dict[str, int] = {}
    for some in rows:
        for metric, value in some.values.items():
            for name, column in _columns(some, metric, value, names, texts).items():
                parts[name].append(column)
    words = arrow.array(list(texts), arrow.string())
    columns = []
    for kind in schema():
        joined = np.concatenate(parts[kind.name]) if parts[kind.name] else np.empty(0, np.int64)
        if kind.type == arrow.string():
            column = words.take(arrow.array(joined)) if texts else arrow.array([], kind.type)
        else:
            column = arrow.array(joined).cast(kind.type)
        columns.append(column)
    return arrow.Table.from_arrays(columns, schema=schema())


def _columns(
    some: Rows, metric: str, value: Any, names: Sequence[str] | None, texts: dict[str, int]
) -> dict[str, Any]:
    """The columns of one metric of one unit; texts by number, so that each is held once."""
    unit, samples = some.unit, len(some.numbers)

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    keys = (unit.model[0], unit.explainer[0], unit.attack, metric, *unit.threat)
    fixed = {**dict(zip(_TEXTS, keys, strict=True)), "error": some.error}
    if names is not None and samples and some.numbers.max() >= len(names):
        raise SurefootError(
            f"names has {len(names)} entries, but the loader has sample number "
            f"{some.numbers.max()}; give one for each sample, in the loader's order"
        )
    called = ["" if names is None else names[sample] for sample in some.numbers]
    return {
        **{name: np.full(samples, number(text)) for name, text in fixed.items()},
        "name": np.array([number(name) for name in called], dtype=np.int64),
        "sample": some.numbers,
        "label": some.labels,
        "value": value,
        "label_kept": some.label_kept,
        "control": np.full(samples, unit.is_control),
    }


@dataclass(frozen=True, eq=False)
class InMemory:
    """The parts of an audit that is written nowhere, by block."""

    held: dict[int, "pa.Table"] = field(default_factory=dict)

    def write(self, block: int, content: "pa.Table") -> None:
        """Keep one part."""
        self.held[block] = content

    def tables(self) -> Iterator[tuple[int, "pa.Table"]]:
        """Every part with its block, in order."""
        yield from sorted(self.held.items())

    def read(self) -> Iterator["pa.Table"]:
        """Every part, in the order of the blocks."""
        return (table for _, table in self.tables())


@dataclass(frozen=True, eq=False)
class OnDisk:
    """The parts in a folder, see the head of this file."""

    folder: Path

    def write(self, block: int, content: "pa.Table") -> None:
        """Put one part in place, in one step.

        Raises:
            SurefootError: it cannot be written, as on a full disk; nothing of it remains.
        """
        bytes_ = _encoded(content)
        place = self.folder / f"part-{block:08d}-{_digest(bytes_)}.parquet"
        beside = self.folder / f".{place.name}.{os.getpid()}"
        try:
            beside.write_bytes(bytes_)
            beside.replace(place)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise SurefootError(f"cannot write {place}: {error.strerror or error}") from error

    @staticmethod
    def size(content: "pa.Table") -> int:
        """Bytes of a part with that content."""
        return len(_encoded(content))

    def done(self) -> Mapping[int, Path]:
        """The file of every block; where a block was done twice, the first by name."""
        found: dict[int, Path] = {}
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder))
        except FileNotFoundError:
            return found
        for name in names:
            _, _, rest = name.partition("part-")
            if name.startswith("part-") and rest[:8].isdigit():
                found.setdefault(int(rest[:8]), self.folder / name)
        return found

    def clean(self) -> list[int]:
        """Remove what is half-written, double or damaged; the blocks that are damaged."""
        kept = self.done()
        wanted = {path.name for path in kept.values()}
        for path in list(self.folder.glob("*part-*.parquet*")):
            if path.name not in wanted:
                path.unlink()
        damaged = [block for block, path in kept.items() if not _whole(path, path.read_bytes())]
        for block in damaged:
            kept[block].unlink()
        return damaged

    def tables(self) -> Iterator[tuple[int, "pa.Table"]]:
        """Every part with its block, in order.

        Raises:
            SurefootError: one of them is not what was written.
        """
        for block, path in sorted(self.done().items()):
            yield block, read_part(path)

    def read(self) -> Iterator["pa.Table"]:
        """Every part, in the order of the blocks."""
        return (table for _, table in self.tables())


def read_part(path: Path) -> "pa.Table":
    """One part; raises if it is not what was written."""
    arrow = errors.optional("pyarrow", "audit")
    parquet = errors.optional("pyarrow.parquet", "audit")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SurefootError(f"cannot read {path}: {error.strerror or error}") from error
    if not _whole(path, content):
        raise SurefootError(
            f"{path} is damaged: its bytes are not those that its name tells; run the audit again "
            "into the same folder, which makes this part anew"
        )
    try:
        file = parquet.ParquetFile(arrow.BufferReader(content))
        if file.metadata.num_rows > _ROWS * len(content):
            raise SurefootError(f"{path} says that it has {file.metadata.num_rows} rows")
        found: pa.Table = file.read()
    except (arrow.ArrowException, OSError) as error:
        raise SurefootError(f"cannot read {path}: {error}") from error
    if not found.schema.equals(schema()):
        raise SurefootError(f"{path} has other columns than the rows of an audit: {found.schema}")
    return found


def _encoded(content: "pa.Table") -> bytes:
    sink = errors.optional("pyarrow", "audit").BufferOutputStream()
    parquet = errors.optional("pyarrow.parquet", "audit")
    parquet.write_table(content, sink, compression="zstd")
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _whole(path: Path, content: bytes) -> bool:
    return path.stem.rpartition("-")[2] == _digest(content)
