"""Where a run goes on: its last good checkpoint, whole, and of the same settings and data."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError, SurefootWarning
from surefoot.train.loop._checkpoint import Checkpoint, compare, last_checkpoint, survey
from surefoot.train.loop._optimizers import fits_a_length
from surefoot.train.loop._run import Run
from surefoot.version import versions

_LENGTH = ("steps", "epochs")


def resumed(run: Run, root: Path, settings: Mapping[str, Any], longer: bool) -> Checkpoint | None:
    """The checkpoint that the run was brought to; None where there is no good one.

    With `longer` the run may have more steps than it was begun with.

    Raises:
        SurefootError: it is damaged, of other settings or data, or the run has other steps and
            depends on their number.
    """
    there, damaged = survey(root)
    last = last_checkpoint(there)
    newer = [folder for folder in damaged if last is None or folder.name > last.folder.name]
    for folder in newer[::-1]:
        raise SurefootError(f"{damaged[folder]}. {_offer(there, folder)}")
    for error in damaged.values():
        warnings.warn(f"an earlier checkpoint is passed over: {error}", SurefootWarning, 6)
    if last is None:
        return None
    longer = longer and _lengthened(run, last, settings)
    compare(last, settings, leave=_LENGTH if longer else ())
    try:
        state = last.verified()
    except SurefootError as error:
        earlier = [one for one in there if one.step < last.step]
        raise SurefootError(f"{error}. {_offer(earlier, last.folder)}") from error
    if last.versions != versions("torch"):
        warnings.warn(
            f"{last.folder} was made with {last.versions}, this is {versions('torch')}: "
            "the weights may not be the same to the bit",
            SurefootWarning,
            stacklevel=6,
        )
    run.load(last, state)
    return last


def _offer(earlier: list[Checkpoint], folder: Path) -> str:
    """What to do about a damaged checkpoint."""
    for one in reversed(earlier):
        try:
            one.verified()
        except SurefootError:
            continue
        if one.good:
            return f"The one before it, {one.folder}, is whole: remove {folder} to go on from there"
    return f"There is no other whole one; remove {folder} to begin anew"


def _lengthened(run: Run, last: Checkpoint, settings: Mapping[str, Any]) -> bool:
    """Whether the run has other steps than its checkpoint was made for, and may have.

    Without a schedule by the run's length, the steps done are those of the other run, too.
    """
    if all(last.settings.get(name, settings[name]) == settings[name] for name in _LENGTH):
        return False
    if run.steps < last.step:
        raise SurefootError(
            f"{last.folder} has {last.step} steps done and the run is of {run.steps}; give more "
            "steps, or another folder"
        )
    if run.schedule is not None and fits_a_length(run.schedule):
        raise SurefootError(
            f"{last.folder} is of a run of other steps, and the schedule {run.loop.schedule!r} is "
            "made for their number; begin another run with these weights, in another folder"
        )
    if run.objective.grows():
        warnings.warn(
            f"{run.objective!r} goes by the share of the training done, which falls back as the "
            "run is lengthened: its weights are not those of one run of so many steps",
            SurefootWarning,
            stacklevel=7,
        )
    return True
