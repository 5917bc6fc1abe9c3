"""Files that are there whole or not at all."""

import os
from pathlib import Path

from surefoot.errors import SurefootError


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` in one step: a reader sees the old file or the new one.

    The bytes go to a file beside it, which then takes its name. What is not a regular file, such
    as a pipe, is written to as it is.

    Raises:
        SurefootError: it cannot be written, as on a full disk; nothing half-written remains.
    """
    try:
        place = Path(path).resolve()
        if place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            _replace(place, content)
    except (OSError, ValueError) as error:  # a name that can be none is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise SurefootError(f"cannot write {path}: {reason}") from error


def make_folder(path: str | Path) -> Path:
    """The folder, made with those above it where they are missing.

    Raises:
        SurefootError: it cannot be made, or is a file.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SurefootError(f"cannot make the folder {path}: {reason}") from error
    return folder


def _replace(place: Path, content: bytes) -> None:
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
