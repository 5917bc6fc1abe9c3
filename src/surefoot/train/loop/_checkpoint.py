"""Checkpoints: a folder each, written whole or not at all, holding tensors and plain values only.

checkpoints/step-00000250/
    model.safetensors      the weights
    average.safetensors    their moving average, where there is one
    state.pt               optimizer, schedule, random states, the objective's state
    checkpoint.json        step, figures, settings, seed, versions, digests of all files
    suspect                empty; there if the next step's loss was not finite
"""

import io
import math
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot.errors import SurefootError
from surefoot.files import (
    DamagedError,
    check_digest,
    open_versioned,
    read_bytes,
    seal,
    write_whole,
)
from surefoot.models import load_weights, save_weights
from surefoot.version import versions

FORMAT = 1
MODEL_FILE, AVERAGE, STATE, RECORD = (
    "model.safetensors",
    "average.safetensors",
    "state.pt",
    "checkpoint.json",
)
_SUSPECT, _PART = "suspect", ".part"
_SCHEMA = {
    "step": int,
    "settings": dict[str, Any],
    "figures": dict[str, float],
    "versions": dict[str, str],
}


@dataclass(frozen=True)
class Checkpoint:
    """One that is there whole.

    Attributes:
        folder: where it is.
        step: optimiser steps done.
        settings: what the run was given.
        figures: of the validation at this step; empty if there was none.
        versions: of the software it was made with.
        record: what its checkpoint.json says of its files.
    """

    folder: Path
    step: int
    settings: Mapping[str, Any]
    figures: Mapping[str, float]
    versions: Mapping[str, str]
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def good(self) -> bool:
        """Whether no step from it has given a loss that is not finite."""
        return not (self.folder / _SUSPECT).exists()

    @property
    def weights(self) -> Path:
        """The file of the weights that were validated."""
        average = self.folder / AVERAGE
        return average if average.exists() else self.folder / MODEL_FILE

    def verified(self) -> dict[str, Any]:
        """The content of state.pt, after every file was found to be what was written.

        Raises:
            SurefootError: one is damaged; the message names it.
        """
        path = self.folder / STATE
        content = read_bytes(path)
        try:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location="cpu", weights_only=True
            )
        except Exception as error:  # a damaged file fails in many ways
            raise DamagedError(
                f"cannot read {path} ({type(error).__name__}); it is damaged"
            ) from error
        check_digest(path, self.record, content)
        for name in self.record.get("files", ()):
            if name != STATE:
                check_digest(self.folder / name, self.record)
        return state

    def load(self, module: nn.Module, name: str = MODEL_FILE) -> None:
        """Put the weights into `module`.

        Raises:
            SurefootError: they are another model's, or damaged.
        """
        try:
            load_weights(module, self.folder / name)
        except SurefootError as error:
            raise SurefootError(f"cannot resume from {self.folder}: {error}") from error


def write(
    root: Path,
    step: int,
    weights: Mapping[str, nn.Module],
    state: Mapping[str, Any],
    record: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of a step; it appears whole, under its name, or not at all.

    Raises:
        SurefootError: it cannot be written, as on a full disk; those before it are untouched.
    """
    folder = root / f"step-{step:08d}"
    beside = root / f"{folder.name}{_PART}"
    content = io.BytesIO()
    torch.save(dict(state), content)
    contents = {name: save_weights(module) for name, module in weights.items()}
    contents[STATE] = content.getvalue()
    about = {"format": FORMAT, "step": step, **record, "versions": versions("torch")}
    try:
        _clear(beside)
        beside.mkdir(parents=True)
        for name, data in {**contents, RECORD: seal(about, contents)}.items():
            write_whole(beside / name, data)
        _clear(folder)
        beside.rename(folder)
    except OSError as error:
        raise SurefootError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def checkpoints(root: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, by step.

    Raises:
        SurefootError: the record of one is damaged.
    """
    there, damaged = survey(root)
    for error in damaged.values():
        raise error
    return there


def survey(root: Path) -> tuple[list[Checkpoint], dict[Path, SurefootError]]:
    """The checkpoints in a folder whose records are whole, by step, and what is wrong with others.

    What is in their files has not been looked at: see `Checkpoint.verified`.
    """
    there, damaged = [], {}
    for path in sorted(root.glob(f"step-*/{RECORD}")):
        if path.parent.name.endswith(_PART):
            continue
        try:
            there.append(_read(path))
        except SurefootError as error:
            damaged[path.parent] = error
    return there, damaged


def last_checkpoint(there: list[Checkpoint]) -> Checkpoint | None:
    """The last good one."""
    return next((one for one in reversed(there) if one.good), None)


def suspect(checkpoint: Checkpoint) -> None:
    """Tell, if that can be written, that training cannot go on from this one."""
    with suppress(OSError):
        (checkpoint.folder / _SUSPECT).touch()


def best(there: list[Checkpoint], figure: str | None) -> Checkpoint | None:
    """The good one with the highest figure, the earliest of equals; none without a figure."""
    if figure is None:
        return None
    known = [one for one in there if figure in one.figures and one.good]
    scored = [one for one in known if not math.isnan(one.figures[figure])]
    return max(scored, key=lambda one: one.figures[figure], default=None)


def prune(root: Path, figure: str | None, count: int = 1) -> None:
    """Keep the last `count` good ones and the best, and nothing half-written.

    Those that are damaged stay, for somebody to look at.
    """
    there, damaged = survey(root)
    good = [one for one in there if one.good]
    keep = {one.folder for one in (*good[-count:], best(there, figure)) if one} | set(damaged)
    for folder in root.glob("step-*"):
        if folder not in keep:
            # First its record, so that what is half-removed is no checkpoint.
            (folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def compare(
    checkpoint: Checkpoint, settings: Mapping[str, Any], leave: Collection[str] = ()
) -> None:
    """Raise unless the run has the settings and the data that the checkpoint was made with.

    What the checkpoint does not tell, one of an earlier version, is not compared, nor what is in
    `leave`.
    """
    changed = {
        name: _difference(name, then, settings.get(name))
        for name, then in checkpoint.settings.items()
        if then != settings.get(name) and name not in leave
    }
    if changed:
        more = ' (for more steps, resume="longer")' if set(changed) <= {"steps", "epochs"} else ""
        raise SurefootError(
            f"cannot resume from {checkpoint.folder}: {'; '.join(changed.values())}{more}. Use the "
            "same settings and data, or another folder for a new run (it may start from these "
            "weights)"
        )


def _difference(name: str, then: object, now: object) -> str:
    if not isinstance(then, list) or not isinstance(now, list):
        return f"{name} was {then}, is {now}"
    if len(then) != len(now):
        return f"{name} was a list of {len(then)}, is one of {len(now)}"
    place = next(place for place, value in enumerate(then) if value != now[place])
    return f"{name}[{place}] was {then[place]}, is {now[place]}"


def _read(path: Path) -> Checkpoint:
    about = open_versioned(path, _SCHEMA, FORMAT, "checkpoint")
    if path.parent.name != f"step-{about['step']:08d}":
        raise DamagedError(f"{path} says step {about['step']}, and is in {path.parent.name}")
    return Checkpoint(
        path.parent, about["step"], about["settings"], about["figures"], about["versions"], about
    )


def _clear(folder: Path) -> None:
    if folder.exists():
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder)
