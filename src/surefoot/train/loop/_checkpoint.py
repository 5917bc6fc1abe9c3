"""Checkpoints: a folder each, written whole or not at all, holding tensors and plain values only.

checkpoints/step-00000250/
    model.safetensors      the weights
    average.safetensors    their moving average, where there is one
    state.pt               optimizer, schedule, random states, the objective's state
    checkpoint.json        step, figures, settings, seed, versions
    suspect                empty; there if the next step's loss was not finite
"""

import io
import json
import math
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot.errors import SurefootError
from surefoot.files import write_whole
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


@dataclass(frozen=True)
class Checkpoint:
    """One that is there whole.

    Attributes:
        folder: where it is.
        step: optimiser steps done.
        settings: what the run was given.
        figures: of the validation at this step; empty if there was none.
        versions: of the software it was made with.
    """

    folder: Path
    step: int
    settings: Mapping[str, Any]
    figures: Mapping[str, float]
    versions: Mapping[str, str]

    @property
    def good(self) -> bool:
        """Whether no step from it has given a loss that is not finite."""
        return not (self.folder / _SUSPECT).exists()

    @property
    def weights(self) -> Path:
        """The file of the weights that were validated."""
        average = self.folder / AVERAGE
        return average if average.exists() else self.folder / MODEL_FILE

    def state(self) -> dict[str, Any]:
        """The content of state.pt."""
        try:
            # Into memory first: a state that is mapped from the file would go when it is pruned.
            content = io.BytesIO((self.folder / STATE).read_bytes())
            state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways
            raise SurefootError(
                f"cannot read {self.folder / STATE} ({type(error).__name__}); it is damaged: "
                f"remove {self.folder} to resume from the checkpoint before it, if there is one"
            ) from error
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
    about = {"format": FORMAT, "step": step, **record, "versions": versions("torch")}
    try:
        _clear(beside)
        beside.mkdir(parents=True)
        for name, module in weights.items():
            write_whole(beside / name, save_weights(module))
        write_whole(beside / STATE, content.getvalue())
        write_whole(beside / RECORD, json.dumps(about, indent=1).encode())
        _clear(folder)
        beside.rename(folder)
    except OSError as error:
        raise SurefootError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def checkpoints(root: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, by step."""
    return [_read(path) for path in sorted(root.glob(f"step-*/{RECORD}")) if _whole(path.parent)]


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
    """Keep the last `count` good ones and the best, and nothing half-written."""
    there = checkpoints(root)
    good = [one for one in there if one.good]
    keep = {one.folder for one in (*good[-count:], best(there, figure)) if one}
    for folder in root.glob("step-*"):
        if folder not in keep:
            # First its record, so that what is half-removed is no checkpoint.
            (folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def compare(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    """Raise unless the run has the settings and the data that the checkpoint was made with.

    What the checkpoint does not tell, one of an earlier version, is not compared.
    """
    changed = [
        _difference(name, then, settings.get(name))
        for name, then in checkpoint.settings.items()
        if then != settings.get(name)
    ]
    if changed:
        raise SurefootError(
            f"cannot resume from {checkpoint.folder}: {'; '.join(changed)}. Use the same settings "
            "and data, or another folder for a new run (it may start from these weights)"
        )


def _difference(name: str, then: object, now: object) -> str:
    if not isinstance(then, list) or not isinstance(now, list):
        return f"{name} was {then}, is {now}"
    if len(then) != len(now):
        return f"{name} was a list of {len(then)}, is one of {len(now)}"
    place = next(place for place, value in enumerate(then) if value != now[place])
    return f"{name}[{place}] was {then[place]}, is {now[place]}"


def _read(path: Path) -> Checkpoint:
    try:
        about = json.loads(path.read_text())
        if about["format"] != FORMAT:
            raise SurefootError(
                f"{path} has format {about['format']}, expected {FORMAT}; another version of "
                "surefoot made it"
            )
        return Checkpoint(
            path.parent, about["step"], about["settings"], about["figures"], about["versions"]
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, SurefootError):
            raise
        raise SurefootError(f"cannot read {path} ({error!r}); it is no checkpoint") from error


def _whole(folder: Path) -> bool:
    return not folder.name.endswith(_PART)


def _clear(folder: Path) -> None:
    if folder.exists():
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder)
