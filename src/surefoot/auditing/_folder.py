"""An audit's folder: settings, a line for each finished block, and the parts with their rows.

`audit.json` says what is run, and at the end what came of it; it is sealed by its own digest.
`blocks.jsonl` gets a line when a block is finished; a line that is missing or torn after a kill is
read from the part. `samples/` is an Arrow data set of its own, see `_parts`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any

from surefoot.auditing import _gallery
from surefoot.auditing._gallery import Shown
from surefoot.auditing._parts import FOLDER, OnDisk, read_part
from surefoot.auditing._work import check_record, record_of
from surefoot.errors import SurefootError
from surefoot.files import claim, make_folder, open_sealed, parse_json, seal, write_whole

STATE, LOG, GALLERY = "audit.json", "blocks.jsonl", "gallery"
FORMAT = 2
_METRIC = {"metric": str, "higher_is_better": bool | None, "ceiling": float | None}
_AUDIT = {
    **dict.fromkeys(("explainers", "attacks", "floors"), dict[str, str]),
    "models": GenericAlias(dict, (str, {"type": str, "state": str})),
    "metrics": GenericAlias(dict, (str, _METRIC)),
    "reduction": str,
    "block": int,
    "data": {"first": str},
    "software": {"surefoot": str},
}
_SCHEMA = {
    "format": int,
    "audit": _AUDIT,
    "survey": {"samples": int | None, "stop": int | None, "batches": int},
    "versions": dict[str, str],
    "started": str,
    "finished?": str | None,
    "samples?": {"seen": int, "correct": dict[str, int], "correct_for_all": int, "used": int},
    "failed?": int,
    "classes?": list[str] | None,
    "about?": dict[str, Any],
}
_FACTS = (
    *(
        "models",
        "explainers",
        "attacks",
        "floors",
        "metrics",
        "reduction",
        "layout",
        "limit",
        "block",
    ),
    *("batch_size", "controls", "draws", "seed", "masks", "data", "software"),
)


@dataclass(frozen=True)
class Folder:
    """Where an audit is written."""

    path: Path

    @property
    def parts(self) -> OnDisk:
        """The rows."""
        return OnDisk(self.path / FOLDER)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Inside, nobody else writes here."""
        with claim(self.path, extra="audit"):
            make_folder(self.path / FOLDER)
            yield

    def state(self) -> dict[str, Any] | None:
        """What `audit.json` says, None where there is none.

        Raises:
            SurefootError: it was changed, or another version wrote it.
        """
        if not (self.path / STATE).exists():
            return None
        found = open_sealed(self.path / STATE, _SCHEMA)
        if found["format"] != FORMAT:
            raise SurefootError(
                f"{self.path} was written by a version of surefoot with other files"
            )
        return {name: value for name, value in found.items() if name != "files"}

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace `audit.json`."""
        write_whole(self.path / STATE, seal({"format": FORMAT, **state}, {}))

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line for a finished block; a single write, so that lines of ranks do not mix."""
        line = (json.dumps(record) + "\n").encode()
        try:
            file = os.open(self.path / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            raise SurefootError(f"cannot write {self.path / LOG}: {error.strerror}") from error

    def records(self) -> dict[int, dict[str, Any]]:
        """What is known of each finished block."""
        done, told = self.parts.done(), self._told()
        return {
            block: told[block] if block in told else record_of(read_part(path))
            for block, path in done.items()
        }

    def _told(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        try:
            lines = (self.path / LOG).read_bytes().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            with suppress(SurefootError):  # torn by a kill
                record = check_record(parse_json(line, LOG))
                found[record["block"]] = record
        return found

    def keep(self, shown: Shown, number: int) -> None:
        """Add a sample to the gallery."""
        _gallery.write(make_folder(self.path / GALLERY), shown, number)

    def gallery(self) -> list[Shown]:
        """The samples that are shown."""
        return _gallery.read(self.path / GALLERY)

    def clear(self) -> None:
        """Remove what an audit wrote here, and nothing else."""
        for path in self.own():
            path.unlink(missing_ok=True)

    def own(self) -> list[Path]:
        """The files of an audit that may be here."""
        gallery = (self.path / GALLERY).glob("*.npz")
        parts = (self.path / FOLDER).glob("*part-*.parquet*")
        return [self.path / STATE, self.path / LOG, *gallery, *parts]


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """What `audit.json` says, in one level: the settings of a result."""
    rest = {name: value for name, value in state.items() if name not in ("audit", "format")}
    return {**state["audit"], **rest}


def deep(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `flat` made flat."""
    facts = {name: settings[name] for name in _FACTS}
    rest = {name: value for name, value in settings.items() if name not in _FACTS}
    return {"audit": facts, **rest}


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise, saying what differs, unless an audit is the one that a folder holds."""
    different = list(_differences(before, now, ""))
    if different:
        more = f"; and {len(different) - 3} more" if len(different) > 3 else ""
        raise SurefootError(
            f"{folder} holds an audit with other settings: {'; '.join(different[:3])}{more}. "
            "Choose another folder, or pass overwrite=True to replace what is there"
        )


def _differences(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            path = f"{where}.{name}" if where else str(name)
            if name not in now or name not in before:
                yield f"{path} is only {'there' if name in before else 'here'}"
            else:
                yield from _differences(before[name], now[name], path)
    elif before != now:
        yield f"{where} is {before!r} there and {now!r} here"
