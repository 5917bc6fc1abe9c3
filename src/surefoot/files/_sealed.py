"""Records that carry the digests of the files beside them, and their own."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError
from surefoot.files._structured import Schema, check_entries, read_json

_FILES, _SELF = "files", "digest"
_SEALED = {_FILES: dict[str, str], _SELF: str}


class DamagedError(SurefootError):
    """A file is not what was written."""


def digest(content: bytes) -> str:
    """`sha256:...` of bytes.

    >>> digest(b"")[:15]
    'sha256:e3b0c442'
    """
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def seal(record: Mapping[str, Any], contents: Mapping[str, bytes], indent: int = 1) -> bytes:
    """A record as JSON, with the digest of each file beside it, by name, and its own."""
    whole = {**record, _FILES: {name: digest(content) for name, content in contents.items()}}
    return (json.dumps({**whole, _SELF: _own(whole)}, indent=indent) + "\n").encode()


def open_sealed(path: str | Path, schema: Schema, sealed: bool = True) -> dict[str, Any]:
    """A record that `seal` made, checked against its own digest.

    Args:
        path: of the record.
        schema: of its entries.
        sealed: whether one without digests, as earlier versions wrote, is refused.

    Raises:
        DamagedError: it was changed, or a digest is missing.
        SurefootError: it cannot be read, or is of another kind.
    """
    record = read_json(path)
    told = {_FILES, _SELF} & set(record)
    if sealed or told:
        check_entries(record, _SEALED, path)
        if record.pop(_SELF) != _own(record):
            raise DamagedError(f"{path} is damaged: it is not what its digest says")
    check_entries(record, schema, path)
    return record


def open_versioned(path: Path, schema: Schema, version: int, what: str) -> dict[str, Any]:
    """A record of this version of its format, checked as `open_sealed` does, digests or none.

    Raises:
        DamagedError: it was changed.
        SurefootError: it is no `what`, or of another format.
    """
    try:
        record = open_sealed(path, {"format": int}, sealed=False)
        if record["format"] == version:
            check_entries(record, schema, path)
    except DamagedError:
        raise
    except SurefootError as error:
        raise SurefootError(f"{error}; it is no {what}") from error
    if record["format"] != version:
        raise SurefootError(
            f"{path} has format {record['format']}, expected {version}; another version of "
            "surefoot made it"
        )
    return record


def check_digest(path: Path, record: Mapping[str, Any], content: bytes | None = None) -> None:
    """Raise unless a file is what it was when the record beside it was written.

    A record without digests, of an earlier version, says nothing.

    Args:
        path: of the file.
        record: what `open_sealed` gave.
        content: of the file, if that has been read.
    """
    if _FILES not in record:
        return
    told = record[_FILES].get(path.name)
    if told is None:
        raise DamagedError(f"{path} is not among the files that its record names")
    if told != (_of_file(path) if content is None else digest(content)):
        raise DamagedError(
            f"{path} is damaged, or another run's: it is not what was written (its digest differs)"
        )


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise DamagedError(f"cannot read {path}: {error.strerror or error}") from error


def _own(record: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(record))
    return digest(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
