"""An audit as a folder: audit.json, samples.csv, summary.csv, each whole and of one run."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot import errors
from surefoot.auditing._tables import KEYS
from surefoot.errors import SurefootError
from surefoot.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

SETTINGS, SAMPLES, SUMMARY = "audit.json", "samples.csv", "summary.csv"
FORMAT = 1


def prepare(folder: str | Path, overwrite: bool) -> None:
    """Make the folder and try to write into it.

    Raises:
        SurefootError: it holds results and `overwrite` is False, or it cannot be written.
    """
    place = Path(folder)
    there = [name for name in (SETTINGS, SAMPLES, SUMMARY) if (place / name).exists()]
    if there and not overwrite:
        raise SurefootError(
            f"{folder} holds the results of an audit already ({', '.join(there)}); choose another "
            "folder, or pass overwrite=True to replace them"
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurefootError(f"cannot make the folder {folder}: {error.strerror}") from error
    trial = place / ".surefoot-trial"
    write_whole(trial, b"")
    trial.unlink()


def save(
    folder: str | Path,
    settings: Mapping[str, Any],
    records: "pd.DataFrame",
    summary: "pd.DataFrame",
) -> None:
    """Write the three files beside the folder's other content, then move them in together."""
    tables = {
        SAMPLES: records.to_csv(index=False, lineterminator="\n").encode(),
        SUMMARY: summary.to_csv(index=False, lineterminator="\n").encode(),
    }
    digests = {name: _digest(content) for name, content in tables.items()}
    stored = {"format": FORMAT, **settings, "files": digests}
    contents = {**tables, SETTINGS: (json.dumps(stored, indent=2) + "\n").encode()}
    place = Path(folder)
    beside = place / ".surefoot-part"
    try:
        beside.mkdir(exist_ok=True)
        for name, content in contents.items():
            write_whole(beside / name, content)
        for name in contents:
            (beside / name).replace(place / name)
    except OSError as error:
        raise SurefootError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load(folder: str | Path) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Records and settings, see `AuditResult.load`."""
    place = Path(folder)
    try:
        settings = json.loads((place / SETTINGS).read_text())
        content = (place / SAMPLES).read_bytes()
    except (OSError, json.JSONDecodeError) as error:
        raise SurefootError(f"{folder} holds no result of an audit: {error}") from error
    if settings.pop("format", None) != FORMAT:
        raise SurefootError(f"{folder} was written by a version of surefoot with other files")
    if settings.pop("files")[SAMPLES] != _digest(content):
        raise SurefootError(
            f"{folder}/{SAMPLES} is not what {SETTINGS} was written with; it was changed, or "
            "belongs to another run"
        )
    records = errors.optional("pandas", "audit").read_csv(
        io.BytesIO(content),
        dtype=dict.fromkeys(KEYS, str),
        converters={"value": _number},  # pandas' own reader may be off in the last digit
        keep_default_na=False,
    )
    return records, settings


def _number(text: str) -> float:
    return float(text or "nan")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
