"""Where data sets lie, and what to say when they do not."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from surefoot.errors import SurefootError

VARIABLE = "SUREFOOT_DATA"
Root = str | Path | None


def data_root(root: Root) -> Path:
    """`root` itself, or the folder that SUREFOOT_DATA names, or one in the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "surefoot" / "data"


def within(path: str, root: Root) -> Path:
    """`path` as it is if there is such a file or folder, else in the data root."""
    try:
        given = Path(path).expanduser()
        return given if given.exists() else data_root(root) / path
    except (OSError, RuntimeError, ValueError) as error:
        raise SurefootError(f"{str(path)[:200]!r} is no path: {error}") from error


def first_file(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    """The first file there is, folder by folder."""
    names = list(names)
    candidates = (folder / name for folder in folders for name in names)
    return next((path for path in candidates if path.is_file()), None)


def missing(
    name: str, root: Root, wanted: Iterable[str], folders: Iterable[Path], ways: Iterable[str]
) -> SurefootError:
    """The error for a data set that is not there: what was looked for where, and how to get it."""
    base = data_root(root)
    places = ", ".join(str(folder) for folder in folders)
    head = f"{name} was not found: looked for {', '.join(wanted)} in {places}. To get it:"
    keep = f"- pass root=FOLDER, or set {VARIABLE}=FOLDER (now {base}), with the files inside"
    beside = [
        f'- or read what is there: surefoot.data.load("arrays:{file.name}")'
        for file in sorted(base.glob(f"{name}*.npz"))
        if _holds_samples(file)
    ]
    return SurefootError("\n".join([head, *(f"- {way}" for way in ways), keep, *beside]))


def _holds_samples(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return bool({"x.npy", "x_train.npy"} & set(archive.namelist()))
    except (OSError, zipfile.BadZipFile):
        return False
