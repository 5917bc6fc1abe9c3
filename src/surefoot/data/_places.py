"""Where data sets lie, and what to say when they do not."""

import os
from collections.abc import Iterable
from pathlib import Path

from surefoot.errors import SurefootError

VARIABLE = "SUREFOOT_DATA"


def data_root(root: str | Path | None) -> Path:
    """`root` itself, or the folder that SUREFOOT_DATA names, or one in the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "surefoot" / "data"


def first_file(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    """The first file there is, folder by folder."""
    names = list(names)
    candidates = (folder / name for folder in folders for name in names)
    return next((path for path in candidates if path.is_file()), None)


def missing(
    name: str, wanted: Iterable[str], folders: Iterable[Path], ways: Iterable[str]
) -> SurefootError:
    """The error for a data set that is not there: what was looked for where, and how to get it."""
    places = ", ".join(str(folder) for folder in folders)
    lines = [f"{name} was not found: looked for {', '.join(wanted)} in {places}. To get it:"]
    return SurefootError("\n- ".join([*lines, *ways]))
