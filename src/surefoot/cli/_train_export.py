"""`surefoot train --export FOLDER`: the trained network, small, with its card."""

import json
import shlex
from argparse import ArgumentError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from surefoot import models
from surefoot.cli._train_options import CONFIGS, parser
from surefoot.copies import copied
from surefoot.errors import SurefootError
from surefoot.files import check_yaml
from surefoot.models import NETWORKS
from surefoot.train import MODEL_FILE, Trained, Validation
from surefoot.version import versions

# The options that the weights depend on: not where and how the run was made.
_TOLD = (
    *("data", "data_options", "samples", "hold_out", "validate_on", "augment"),
    *("model", "model_options", "weights", "mean", "std", "objective"),
    *("optimizer", "schedule", "steps", "epochs", "batch", "replays", "accumulate", "clip"),
    *("average", "seed", "precision"),
)


def check(settings: Any) -> None:
    """Raise for a model that cannot be exported, before it is trained."""
    if settings.export is None:
        return
    if settings.model in NETWORKS and NETWORKS[settings.model].embedding is not None:
        raise SurefootError(
            f"--export does not know the words of {settings.model} yet: model.safetensors in the "
            "run's folder holds its weights"
        )
    if settings.model not in models.names():
        raise SurefootError(
            f"--export is for reference networks ({', '.join(models.names())}), not for "
            f"{settings.model}: model.safetensors in the run's folder holds its weights"
        )


def export(
    settings: Any,
    network: dict[str, Any],
    trained: Trained,
    training: Any,
    held_out: Any,
    validation: Validation,
) -> None:
    """Write the network with a card; its figures are those of the weights as they are stored.

    Args:
        settings: the options.
        network: what the network was built with.
        trained: the finished run.
        training: the data it was trained on.
        held_out: what it was validated on; None leaves the card without figures.
        validation: what is measured.

    Raises:
        SurefootError: it cannot be written.
    """
    labels = tuple(training.classes)
    plain = copied(trained.model).cpu().float()  # --precision may have left other weights

    def save(folder: str | Path, about: dict[str, Any]) -> nn.Module:
        return models.save(
            plain, folder, settings.model, settings=network, labels=labels, about=about
        )

    about = {
        **_images(training),
        "note": settings.note,
        "command": _command(settings),
        "options": {
            name: value for name in _TOLD if (value := getattr(settings, name)) is not None
        },
        "steps": trained.steps,
        "versions": versions("torch"),
    }
    with TemporaryDirectory() as scratch:  # the card is written when its figures are there
        about |= _figures(plain, save(scratch, {}), held_out, validation)
    save(settings.export, about)


def _figures(
    plain: nn.Module, stored: nn.Module, held_out: Any, validation: Validation
) -> dict[str, Any]:
    if held_out is None:
        return {}
    before = Validation(adversary=None, audit=None)(plain, held_out)
    return {
        "held_out": len(held_out),
        "validation": repr(validation),
        "figures": validation(stored, held_out),
        "accuracy_before_rounding": before["accuracy"],
    }


def _images(samples: Any) -> dict[str, int]:
    """Channels and side of square images, which not all networks' settings tell."""
    inputs = samples[torch.arange(1)][0]
    if inputs.ndim != 4:
        return {}
    channels, height, width = inputs.shape[1:]
    return {"channels": channels, **({"size": height} if height == width else {})}


def _command(settings: Any) -> str:
    """How to make it again, after the runs that made the weights it begins with."""
    line, outs = _line(settings), [Path(settings.out).resolve()]
    run = _before(settings)
    while run is not None and Path(run.out).resolve() not in outs:
        line = f"{_line(run)} --out {shlex.quote(run.out)} && {line}"
        outs.append(Path(run.out).resolve())
        run = _before(run)
    return line


def _line(settings: Any) -> str:
    """The command with what differs from the configuration that it names."""
    name = next((name for path in settings.config or [] if (name := _shipped(path))), None)
    named = [] if name is None else ["--config", name]
    known = parser().parse_args(named)
    words = ["surefoot", "train", *named, "--seed", str(settings.seed)]
    for option in _TOLD:
        value = getattr(settings, option)
        if option != "seed" and value != getattr(known, option):
            words += [f"--{option.replace('_', '-')}", _written(value)]
    return shlex.join(words)


def _shipped(path: Any) -> str | None:
    """The name of a configuration that comes with the package, None for other files."""
    place, home = Path(str(path)).resolve(), CONFIGS.resolve()
    if home not in place.parents:
        return None
    return place.relative_to(home).with_suffix("").as_posix()


def _written(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _before(settings: Any) -> Any:
    """The options of the run that made the weights, None where its folder does not tell."""
    if settings.weights is None or Path(settings.weights).name != MODEL_FILE:
        return None
    config = Path(settings.weights).with_name("config.yaml")
    if not config.is_file():
        return None
    try:
        check_yaml(config)
        run = parser().parse_args(["--config", str(config)])
    except (ArgumentError, SurefootError):  # made by another version
        return None
    run.out = str(config.parent)
    return run
