"""`surefoot train --export FOLDER`: the trained network, small, with its card."""

from typing import Any

from torch import nn

from surefoot import models
from surefoot.cli._train_options import CONFIGS
from surefoot.errors import SurefootError
from surefoot.models._networks import NETWORKS
from surefoot.train import Trained, Validation
from surefoot.train.loop import _checkpoint

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
    labels: tuple[str, ...],
    trained: Trained,
    held_out: Any,
    validation: Validation,
) -> None:
    """Write the network with a card; its figures are those of the weights as they are stored.

    Args:
        settings: the options.
        network: what the network was built with.
        labels: the classes' names.
        trained: the finished run.
        held_out: what it was validated on; None leaves the card without figures.
        validation: what is measured.

    Raises:
        SurefootError: it cannot be written.
    """

    def write(about: dict[str, Any]) -> nn.Module:
        return models.save(
            trained.model,
            settings.export,
            settings.model,
            settings=network,
            labels=labels,
            about=about,
        )

    about = {
        "note": settings.note,
        "command": _command(settings),
        "options": {
            name: value for name in _TOLD if (value := getattr(settings, name)) is not None
        },
        "steps": trained.steps,
        "versions": _checkpoint.versions(),
    }
    stored = write(about)
    if held_out is not None:
        device = next(stored.parameters()).device
        before = Validation(adversary=None, audit=None)(trained.model.to(device), held_out)
        measured = {
            "held_out": len(held_out),
            "validation": repr(validation),
            "figures": validation(stored, held_out),
            "accuracy_before_rounding": before["accuracy"],
        }
        write(about | measured)


def _command(settings: Any) -> str:
    """How to make it again."""
    for path in settings.config or []:
        place = CONFIGS.joinpath(str(path)).resolve()
        if CONFIGS.resolve() in place.parents:
            name = place.relative_to(CONFIGS.resolve()).with_suffix("").as_posix()
            return f"surefoot train --config {name} --seed {settings.seed}"
    return "surefoot train --config FILE, the file with the options below"
