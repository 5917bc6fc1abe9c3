"""Cells and what they found: one Parquet file each, written whole."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from surefoot.auditing import AuditResult
from surefoot.files import write_whole

RESULTS = Path(__file__).parent / "results"
_FACTS = b"surefoot"
_COLUMNS = ["sample", "explainer", "attack", "metric", "value", "label_kept"]


@dataclass(frozen=True)
class Found:
    """What a cell found.

    Attributes:
        values: one row a sample, explainer, attack and metric: `sample`, `explainer`, `attack`,
            `metric`, `value`, `label_kept`.
        figures: numbers of the whole cell, such as accuracy.
        facts: settings, versions, digests, seconds: what tells how it was made.
    """

    values: pd.DataFrame
    figures: Mapping[str, float]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        audits: Sequence[AuditResult],
        figures: Mapping[str, float],
        facts: Mapping[str, Any],
    ) -> "Found":
        """The rows of audits; where two hold the same one, the first counts."""
        values = pd.concat([audit.frame()[_COLUMNS] for audit in audits])
        return cls(values.drop_duplicates(_COLUMNS[:4]), figures, facts)

    def save(self, path: Path) -> None:
        """Write one compressed file."""
        table = pa.Table.from_pandas(_compact(self.values), preserve_index=False)
        told = json.dumps({"figures": dict(self.figures), "facts": dict(self.facts)})
        table = table.replace_schema_metadata({_FACTS: told.encode()})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Found":
        """What `save` wrote."""
        table = pq.read_table(path)
        told = json.loads(table.schema.metadata[_FACTS])
        return cls(table.to_pandas(), told["figures"], told["facts"])


def made_by() -> dict[str, Any]:
    """Facts of every cell: the versions that made it."""
    return {"versions": {name: version(name) for name in ("surefoot", "torch")}}


def _compact(values: pd.DataFrame) -> pd.DataFrame:
    kinds = {"sample": "int32", "value": "float32"}
    kinds |= dict.fromkeys(("explainer", "attack", "metric"), "category")
    return values.astype(kinds)


@dataclass(frozen=True)
class Cell:
    """One network of a study, or one arm of an experiment.

    Attributes:
        data: the name of its data set.
        arm: what is done, such as the objective.
        seed: of everything random.
        run: does it; gets a folder of its own, in which it can be stopped and gone on with.
    """

    data: str
    arm: str
    seed: int
    run: Callable[[Path], Found]

    @property
    def name(self) -> str:
        """As the command line has it.

        >>> Cell("digits", "pgd", 0, run=print).name
        'digits/pgd/0'
        """
        return f"{self.data}/{self.arm}/{self.seed}"

    def file(self, folder: Path) -> Path:
        """Where its result lies."""
        return folder / self.data / f"{self.arm}-{self.seed}.parquet"


def load(folder: Path) -> dict[tuple[str, str, int], Found]:
    """All results of a study by data, arm and seed."""
    found = {}
    for path in sorted(folder.glob("*/*.parquet")):
        arm, _, seed = path.stem.rpartition("-")
        found[path.parent.name, arm, int(seed)] = Found.load(path)
    return found
