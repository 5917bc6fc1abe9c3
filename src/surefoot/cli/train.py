"""`surefoot train --config run.yaml`: train a model with an objective."""

import inspect
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot import attack, data, explain, models, train
from surefoot.cli import _outputs, _train_export, _train_options
from surefoot.cli._options import written
from surefoot.cli._shared import set_threads
from surefoot.errors import SurefootError, optional
from surefoot.files import make_folder, write_whole
from surefoot.models import NETWORKS, inside, maker
from surefoot.recipes import Reader

HELP = "train a model with an objective"
CONFIG = "config.yaml"
_HELD_OUT = 1000
# A run resumes with the same ones only, so that the figures in its log are of the same data, too;
# `fit` sees to objective, loop, pixels and normalisation.
_BINDING = (
    *("data", "data_options", "samples", "hold_out", "validate_on"),
    *("model", "model_options", "weights"),
)
# What `fit` takes under the same name.
_PASSED = ("validate_every", "validate_epochs", "checkpoint_every", "log_every", "workers")

parser = _train_options.parser


def run(settings: Any) -> None:
    """Train, and write weights, checkpoints, logs and configuration.

    Raises:
        SurefootError: an option, a data set, a weights file that cannot be used; a loss that is
            not finite; a file that cannot be written.
    """
    loop, objective, validation = recipes(settings)
    _train_export.check(settings)
    out = Path(settings.out)
    _outputs.check_own(out / CONFIG)
    set_threads(settings.threads)
    fabric = _fabric(settings)
    training, held_out = _data(settings)
    model = _model(settings, training)
    if fabric.is_global_zero and not train.checkpoints(out / "checkpoints"):
        _write_config(settings)
    trained = train.fit(
        fabric.to_device(model),
        objective,
        training,
        loop,
        held_out=held_out,
        validation=validation,
        best_by=None if settings.validate_on == "test" else settings.best_by,
        out=out,
        logs=_logs(settings.logs),
        progress=sys.stderr.isatty() and not (settings.quiet or settings.json),
        fabric=fabric,
        resume="longer" if settings.longer else settings.resume,
        binding={f"--{name.replace('_', '-')}": getattr(settings, name) for name in _BINDING},
        **{name: getattr(settings, name) for name in _PASSED},
    )
    if fabric.is_global_zero and settings.longer:
        _write_config(settings)  # of the steps that there are now
    if fabric.is_global_zero and settings.export is not None:
        network = _network(settings, training)
        _train_export.export(settings, network, trained, training, held_out, validation)
    if fabric.is_global_zero:
        told = validation.told(len(held_out)) if trained.figures else ""
        _tell(settings, trained, told)


def _tell(settings: Any, trained: train.Trained, of_what: str) -> None:
    """Say what came of it, and what was written."""
    out = Path(settings.out)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in trained.figures.items())
    of_what = f" ({of_what})" if of_what else ""
    _outputs.say(settings, [f"{trained.steps} steps{figures and ': '}{figures}{of_what}"])
    written_there = [out / "model.safetensors", out / CONFIG]
    if settings.export is not None:
        written_there.append(Path(settings.export))
    found = {
        "command": "train",
        "objective": settings.objective,
        "model": settings.model,
        "data": settings.data,
        "steps": trained.steps,
        "figures": {name: _finite(value) for name, value in trained.figures.items()},
        "figures of": of_what.strip(" ()") or None,
        "files": list(map(str, written_there)),
    }
    _outputs.tell(settings, found)
    _outputs.wrote(settings, written_there)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write_config(settings: Any) -> None:
    content = written(parser(), settings, "train", resume=False, longer=False)
    write_whole(make_folder(settings.out) / CONFIG, content)


def recipes(settings: Any) -> tuple[train.Loop, train.Objective, train.Validation]:
    """What the options say of training and watching, before anything is loaded.

    Raises:
        SurefootError: a recipe that cannot be read, or something that is missing.
    """
    for name in ("model", "data", "objective"):
        if getattr(settings, name) is None:
            raise SurefootError(
                f"--{name} is missing; give it, or take a configuration that has it with --config, "
                f"such as {_train_options.configs()[0]}"
            )
    names = ("steps", "epochs", "batch", "optimizer", "schedule", "replays", "accumulate")
    more = ("clip", "average", "seed")
    loop = train.Loop(**{name: getattr(settings, name) for name in (*names, *more)})
    validation = train.Validation(
        adversary=_attack(settings.adversary, (attack.PGD, attack.FGSM), "--adversary"),
        attacked=settings.attacked,
        audit=_attack(settings.audit, (attack.AttributionAttack,), "--audit"),
        explainer=explain.parse(settings.explainer),
        audited=settings.audited,
    )
    return loop, train.parse(settings.objective), validation


def _logs(given: list[str] | str) -> tuple[Any, ...]:
    """A list, or names with commas between them as a shell passes on without quotes."""
    names = given.split(",") if isinstance(given, str) else given
    return tuple(name.strip() for name in names)


def _attack(text: str, kinds: tuple[type, ...], option: str) -> Any:
    if text == "none":
        return None
    made = attack.parse(text)
    if not isinstance(made, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise SurefootError(f"{option}={text} is a {type(made).__name__}, expected a {names}")
    return made


def _fabric(settings: Any) -> Any:
    package = optional("lightning_fabric", "train")
    try:
        fabric = package.Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=settings.precision,
        )
        fabric.launch()
    except (ValueError, RuntimeError, TypeError) as error:
        raise SurefootError(
            f"cannot run with --accelerator={settings.accelerator} --devices={settings.devices} "
            f"--strategy={settings.strategy} --precision={settings.precision}: {error}"
        ) from error
    return fabric


def _data(settings: Any) -> tuple[Any, Any]:
    """The training samples, and those that figures are taken of (None if there are none)."""
    whole = _split(settings, "train")
    if settings.hold_out is None:
        settings.hold_out = _HELD_OUT if settings.validate_on == "held-out" else 0
    left = len(whole) - settings.hold_out
    if not 0 <= settings.hold_out < len(whole) or not 1 <= (settings.samples or left) <= left:
        raise SurefootError(
            f"--samples={settings.samples} --hold-out={settings.hold_out}, but {settings.data} has "
            f"{len(whole)} training samples in all"
        )
    # Seed 0 whatever the run's: runs of several seeds are compared on the same samples.
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    training = whole.take(order[: settings.samples or left].sort().values)
    if settings.augment is not None:
        kinds = {"CropAndFlip": data.CropAndFlip}
        reader = Reader("augmentation", kinds, "CropAndFlip(padding=4)")
        training = training.augmented(reader.read(settings.augment))
    if settings.validate_on != "held-out":
        return training, _split(settings, settings.validate_on)
    held_out = whole.take(order[left:].sort().values) if settings.hold_out else None
    return training, held_out


def _split(settings: Any, split: str) -> Any:
    options = dict(settings.data_options or {})
    if settings.download:
        options["download"] = True
    found: Any = data.load(settings.data, split=split, root=settings.root, **options)
    pictures = settings.in_memory and isinstance(found, data.Pictures)
    return found.samples() if pictures else found


def _network(settings: Any, training: Any) -> dict[str, Any]:
    """What a network is built with: its own options, and what the data tell about it."""
    inputs = training[torch.arange(1)][0]
    known = {"classes": len(training.classes)}
    if inputs.ndim == 4:
        known |= {"channels": inputs.shape[1], "size": inputs.shape[2]}
    elif isinstance(training, data.Sentences):
        known |= {"vocabulary": len(training.vocabulary)}
    elif inputs.ndim == 2:
        known |= {"features": inputs.shape[1]}
    taken = inspect.signature(maker(settings.model)).parameters
    fitting = {key: value for key, value in known.items() if key in taken}
    given = dict(settings.model_options or {})
    if "size" in fitting and "size" not in given:
        _check_square(settings, *inputs.shape[2:])
    return fitting | given


def _check_square(settings: Any, height: int, width: int) -> None:
    if height != width:
        raise SurefootError(
            f"{settings.data} has images of {height} x {width} pixels, and {settings.model} takes "
            "squares; bring the images to squares, or take a network that has no size, such as "
            "resnet18-small"
        )


def _model(settings: Any, training: Any) -> nn.Module:
    """The network, new or from weights."""
    name = settings.model
    if name in models.names() or name.startswith(("timm:", "torchvision:")):
        model = models.build(name, seed=settings.seed, **_network(settings, training))
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = models.load(name)
    embedding = NETWORKS[name].embedding if name in NETWORKS else None
    if any(given is not None for given in (settings.mean, settings.std, embedding)):
        model = _classifier(model, settings.mean, settings.std, embedding)
    if settings.weights is not None and not _goes_on_without(settings):
        models.load_weights(model, settings.weights)
    return model


def _goes_on_without(settings: Any) -> bool:
    """Whether the weights that a resumed run began with are gone, and needed no more."""
    if not (settings.resume or settings.longer) or Path(settings.weights).exists():
        return False
    return train.last_checkpoint(train.checkpoints(Path(settings.out) / "checkpoints")) is not None


def _classifier(model: nn.Module, mean: Any, std: Any, embedding: str | None) -> nn.Module:
    """With that normalisation, in the place of one that the model has already."""
    if not isinstance(model, models.Classifier):
        return models.Classifier(model, mean, std, embedding=embedding)
    own = inside(model)
    mean, std = own["mean"] if mean is None else mean, own["std"] if std is None else std
    return models.Classifier(model.module, mean, std, model.output, model.embedding)
