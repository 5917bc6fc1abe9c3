"""One writer a folder: a lock that names its owner, and that a killed process does not keep."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError, optional
from surefoot.files._structured import read_json
from surefoot.files._whole import make_folder, write_whole

_LOCK, _OWNER = ".surefoot-lock", ".surefoot-owner.json"
_PATIENCE = 10.0  # seconds that the workers of a killed process may take to notice


@contextmanager
def claim(folder: str | Path, extra: str = "train") -> Iterator[None]:
    """Inside, no other process that asks for it writes to the folder.

    The lock is the operating system's, so that a process that was killed holds none; the workers
    it left behind are waited for.

    Args:
        folder: made if it is not there.
        extra: of surefoot, that brings the lock's package.

    Raises:
        SurefootError: another process, or this one, has it; the message names the owner.
    """
    place = make_folder(folder)
    package: Any = optional("filelock", extra)
    lock = package.FileLock(place / _LOCK, timeout=0)
    _acquire(lock, place, package.Timeout)
    try:
        write_whole(place / _OWNER, json.dumps(_self()).encode())
        yield
    finally:
        with suppress(OSError):
            for name in (_OWNER, _LOCK):  # while the lock is held: who gets it looks again
                (place / name).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: Any, place: Path, busy: type[Exception]) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            lock.acquire()
        except (busy, RuntimeError):
            owner = _owner(place)
            if time.monotonic() < until and _gone(owner):
                time.sleep(0.1)
                continue
            who = " ".join(f"{name} {value}" for name, value in owner.items())
            raise SurefootError(
                f"{place} is being written by {who or 'another process'}; wait for it, stop it, or "
                "take another folder"
            ) from None
        except OSError as error:
            raise SurefootError(f"cannot lock {place}: {error.strerror or error}") from error
        else:
            return


def _self() -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": now}


def _owner(place: Path) -> dict[str, Any]:
    schema = {"process": int, "host": str, "since": str}
    try:
        return {name: read_json(place / _OWNER, schema)[name] for name in schema}
    except SurefootError:
        return {}


def _gone(owner: dict[str, Any]) -> bool:
    """Whether the owner was a process of this machine that is no more."""
    if not owner or owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
