"""Results that others take the place of: they stand aside until those are whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surefoot.auditing._folder import STATE, Folder
from surefoot.errors import SurefootError
from surefoot.files import make_folder

ASIDE = ".replaced"


@contextmanager
def replacing(folder: Folder, wanted: bool) -> Iterator[None]:
    """Inside, a folder is empty for new results if that is `wanted`.

    What was there is moved, not copied, so that a full disk is no fuller. It is removed once the
    work inside is done, comes back if the work ends with an error before a block is finished, and
    else stays aside: an error says where.

    Raises:
        SurefootError: it cannot be moved; or what the work inside raises.
    """
    aside = Folder(folder.path / ASIDE)
    if wanted:
        _clear(folder, aside)
    try:
        yield
    except BaseException as error:
        if not (aside.path / STATE).exists():
            raise
        if not folder.parts.done():
            folder.clear()
            _move(aside, folder)
            shutil.rmtree(aside.path, ignore_errors=True)
            raise
        if isinstance(error, SurefootError):
            raise SurefootError(f"{error}. What was there before is in {aside.path}") from error
        raise
    shutil.rmtree(aside.path, ignore_errors=True)


def _clear(folder: Folder, aside: Folder) -> None:
    """Move the results aside; those of a run that was to replace others, and was not finished, go.

    The settings are moved last: a kill midway leaves the results as they were, but for blocks that
    are done anew.
    """
    if not (aside.path / STATE).exists():
        _move(folder, aside)
    folder.clear()


def _move(here: Folder, there: Folder) -> None:
    own = sorted(here.own(), key=lambda path: path.name == STATE)
    try:
        for path in own:
            with suppress(FileNotFoundError):
                path.replace(_beside(there, path.relative_to(here.path)))
    except OSError as error:
        raise SurefootError(f"cannot move {here.path}: {error.strerror or error}") from error


def _beside(there: Folder, name: Path) -> Path:
    place = there.path / name
    make_folder(place.parent)
    return place
