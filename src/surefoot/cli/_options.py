"""Every option of every command, spelt, typed and explained once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from surefoot.cli._numbers import (
    UnreadableError,
    number,
    sharpness,
)
from surefoot.data import Fit
from surefoot.maps import Reduction
from surefoot.report import Look, Scale, Size
from surefoot.train import Loop, Validation
from surefoot.version import versions

_LOOP, _VALIDATION = Loop(), Validation()
DEFAULT_ATTACK = "TopK"
DEFAULT_MODEL, DEFAULT_SIZE, DEFAULT_CHANNELS, DEFAULT_STEPS = "efficientnet-lite0", 224, 3, 15


@dataclass(frozen=True)
class Option:
    """One option as a command line and a configuration file know it.

    Attributes:
        kind: its type; bool is a switch. Without a default, null takes a setting back.
        help: what it does.
        metavar: what stands for its value in the help.
        default: None if there is none.
        short: a second spelling.
    """

    kind: Any
    help: str
    metavar: str | None = None
    default: Any = None
    short: str | None = None


_FILE, _FOLDER, _RECIPE, _N = "FILE", "FOLDER", "RECIPE", "N"
_MODEL = (
    "efficientnet-lite0, a trained network that comes with the package, such as "
    "fashion-mnist/scaat, the folder of one that train --export wrote, a timm or torchvision name "
    "(timm:NAME, torchvision:NAME), package.module:factory, or an exported program FILE.pt2"
)
_CHANNELS = f"of the model's input: {DEFAULT_CHANNELS}, or 1 for grey (default: the model's own, "

OPTIONS: Mapping[str, Option] = {
    # photographs
    "photos": Option(list[str], "the same as PHOTO..., for a configuration file", "[PHOTO, ...]"),
    "fit": Option(
        Fit,
        "how photographs become squares: the middle, all of it with grey around, all of it without "
        "its proportions, or all of it in tiles of the model's size",
        default="crop",
    ),
    # what a command says and writes
    "quiet": Option(bool, "say nothing but warnings and errors"),
    "json": Option(bool, "say what was found and written as one line of JSON"),
    "force": Option(bool, "overwrite files that surefoot did not write"),
    "rows": Option(int, "photographs in a picture; more go to map-2.png, map-3.png, ...", _N, 32),
    "preview": Option(bool, "show a plain gradient in the terminal at once, the map at the end"),
    "overlay": Option(
        str, "also draw the map over the photograph at the photograph's own size", "FILE.png"
    ),
    # models
    "model": Option(str, _MODEL, "NAME_OR_FACTORY"),
    "weights": Option(str, "safetensors or weights-only checkpoint", _FILE),
    "classes": Option(int, "number of logits, with weights of your own", "K"),
    "mean": Option(
        list[float],
        "subtracted from the pixels: one number, or one a channel (default: the model's)",
        "M ...",
    ),
    "std": Option(
        list[float],
        "pixels are divided by it: one number, or one a channel (default: the model's)",
        "S ...",
    ),
    "size": Option(
        int,
        f"side of the model's input (default: the model's own, else {DEFAULT_SIZE})",
        "PIXELS",
    ),
    "channels": Option(int, f"{_CHANNELS}else {DEFAULT_CHANNELS})", "C"),
    "labels": Option(str, "class names, one a line or a JSON list", _FILE),
    "device": Option(str, "cpu, cuda, cuda:1, mps, or auto: the fastest", "DEVICE", "auto"),
    "threads": Option(int, "CPU threads to use", _N),
    "seed": Option(int, "of new weights, the order of the data and all draws", _N, 0),
    # maps and pictures
    "explainer": Option(
        str, "such as SmoothGrad(Gradient(), samples=20), written as in Python", _RECIPE
    ),
    "target": Option(str, "class index or name (default: the predicted)", "CLASS"),
    "percentile": Option(float, "at which the heat maps are capped", "P", 95),
    "out": Option(str, "the picture to write", "OUT.png", short="-o"),
    "panels": Option(
        str,
        "columns of the picture, of input, base, map, signed, overlay, contours, top (default: by "
        "what the method gives)",
        "NAME,...",
    ),
    "colours": Option(str, "colour map of sizes, one of matplotlib's", "NAME", Look().colours),
    "opacity": Option(float, "of the overlay, at most 1", "A", Look().opacity),
    "scale": Option(Scale, "of the maps: each by itself, or all by one", default="each"),
    "smooth": Option(float, "width in pixels of a Gaussian over the maps", "SIGMA", 0.0),
    "top": Option(float, "share of the pixels in contours and top", "SHARE", Look().top),
    "picture": Option(
        Size, "what it is for: 13 inches wide, 6.75, 3.33, or as its columns need", default="screen"
    ),
    "save_attributions": Option(
        str, "also write the unscaled attributions to a .npz or .safetensors file", _FILE
    ),
    "save": Option(
        str,
        "also write originals, perturbed inputs, attributions before and after, and scores to a "
        ".npz or .safetensors file; the picture, of 8 bits, cannot hold the perturbation exactly",
        _FILE,
    ),
    # attacks
    "attack": Option(str, "", "NAME", DEFAULT_ATTACK),
    "ensemble": Option(
        Literal["quick", "standard", "thorough"],
        "the strongest attack instead: many searches, of which each photograph keeps the worst; "
        "standard costs about twenty times as much as --attack TopK",
        "EFFORT",
    ),
    "by": Option(
        str,
        "the measure that --ensemble makes as bad as it can, such as kendall",
        "METRIC",
        "topk_intersection",
    ),
    "towards": Option(str, "whose map Manipulation makes the map look like", "PHOTO"),
    "k": Option(
        int | float,
        "places of TopK and of the score, or their share below 1 (default: 1000, or a tenth of a "
        "map with fewer than 10000)",
        "K",
    ),
    "reduction": Option(Reduction, "of a map's channels", default="sum_abs"),
    "beta": Option(
        sharpness,
        "of the softplus in place of ReLU during the search: a number, none, or auto",
        "B",
        "auto",
    ),
    "control_draws": Option(int, "random signs to average over", _N, 3),
    "score_with": Option(
        str, "another explainer whose maps are drawn and scored (transfer)", _RECIPE
    ),
    "norm": Option(Literal["linf", "l2"], "of the perturbation", default="linf"),
    "epsilon": Option(
        number,
        "its largest size, as 0.004 or 1/255 (default: 1/255 for linf; for l2 the length of 1/255 "
        "in every entry)",
        "E",
    ),
    "steps": Option(int, "optimiser steps", _N),
    "step_size": Option(number, "of a step (default: falls from epsilon)", "E"),
    "restarts": Option(int, "runs, of which the best is kept", _N, 1),
    # certificates
    "exact": Option(
        number,
        "certify the map itself, exactly, against every change up to this (linf), as 0.001 or "
        "1/2550; for small networks",
        "RADIUS",
    ),
    "beside": Option(
        Literal["quick", "standard", "thorough"],
        "with --exact, also attack within the same radius, and say what the ensemble of this "
        "effort, the published loop and random signs leave beside what is proved",
        "EFFORT",
    ),
    "sigma": Option(number, "standard deviation of the noise", "S", 0.15),
    "draws": Option(int, "noisy maps of each photograph", _N, 100),
    "tau": Option(number, "share of draws that must agree; radius is sigma Phi^-1(tau)", "T", 0.75),
    "alpha": Option(number, "probability that anything said of a photograph is wrong", "A", 0.001),
    "noise": Option(Literal["gaussian", "uniform"], "of the draws", default="gaussian"),
    "save_mask": Option(
        str, "also write masks and frequencies to a .npz or .safetensors file", _FILE
    ),
    # training: the run
    "note": Option(str, "free text, kept with the run", "TEXT"),
    "resume": Option(bool, "go on from the last checkpoint in the folder"),
    "longer": Option(bool, "go on likewise, for more steps than the run was begun for"),
    "export": Option(
        str,
        "also write the trained network in a quarter of the space, with a card, as a model that "
        "--model FOLDER loads",
        _FOLDER,
    ),
    # training: the data
    "data": Option(
        str, "a data set: fashion-mnist, gtsrb, folder:PATH, arrays:FILE.npz, ...", "NAME"
    ),
    "data_options": Option(dict[str, Any], "the data set's own", "{NAME: VALUE}"),
    "root": Option(str, "that holds data sets (default: $SUREFOOT_DATA)", _FOLDER),
    "download": Option(bool, "fetch the data set first, where that is possible"),
    "samples": Option(int, "train on so many, drawn once for all seeds", _N),
    "hold_out": Option(
        int,
        "training samples that are kept for validation, the same for all seeds (default: 1000, or "
        "none with --validate-on)",
        _N,
    ),
    "validate_on": Option(
        Literal["held-out", "validation", "test"],
        "what the figures are of: those training samples, or a split of the data set; nothing is "
        "chosen on the test, so there is no best checkpoint then",
        default="held-out",
    ),
    "augment": Option(str, "such as CropAndFlip(padding=4)", _RECIPE),
    "in_memory": Option(bool, "read all pictures of a folder at the beginning"),
    "model_options": Option(
        dict[str, Any],
        "the network's own; classes, channels, size and vocabulary come from the data",
        "{NAME: VALUE}",
    ),
    # training: the steps
    "objective": Option(str, "such as SCAAT(epsilon=4/255), written as in Python", _RECIPE),
    "optimizer": Option(
        str, "of torch.optim, such as SGD(lr=0.1, momentum=0.9)", _RECIPE, _LOOP.optimizer
    ),
    "schedule": Option(
        str,
        "of torch.optim.lr_scheduler, by steps, such as CosineAnnealingLR(); or "
        "Piecewise({500: 10}), ten times the rate from step 500",
        _RECIPE,
    ),
    "epochs": Option(float, "passes over the data, instead", _N),
    "batch": Option(int, "samples a step, over all processes", _N, _LOOP.batch),
    "replays": Option(int, "steps on each batch (FreeAT)", "M", 1),
    "accumulate": Option(int, "pieces a batch is taken in", _N, 1),
    "clip": Option(float, "largest norm of the gradient", "NORM"),
    "average": Option(float, "decay of a moving average of the weights", "DECAY"),
    # training: what is watched
    "validate_every": Option(int, "(default: a pass over the data)", "STEPS"),
    "validate_epochs": Option(int, "instead of --validate-every", _N),
    "checkpoint_every": Option(int, "(default: a pass over the data)", "STEPS"),
    "log_every": Option(int, "lines of logs", "STEPS", 10),
    "logs": Option(
        list[str] | str, "csv, tensorboard, or both as csv,tensorboard", "NAME,...", ["csv"]
    ),
    "best_by": Option(str, "whose highest value makes the best checkpoint", "FIGURE", "accuracy"),
    "adversary": Option(
        str,
        "the attack of adversarial accuracy; none for none",
        _RECIPE,
        repr(_VALIDATION.adversary),
    ),
    "attacked": Option(int, "samples for it", _N, _VALIDATION.attacked),
    "audit": Option(
        str, "the attack on explanations; none for none", _RECIPE, repr(_VALIDATION.audit)
    ),
    "audited": Option(int, "samples for it", _N, _VALIDATION.audited),
    # training: the machine
    "accelerator": Option(str, "cpu, cuda, mps, tpu, or auto: the fastest", "NAME", "auto"),
    "devices": Option(str, "their number, their list as 0,1, or auto: all", _N, "1"),
    "nodes": Option(int, "machines", _N, 1),
    "strategy": Option(str, "over several devices: ddp, ddp_spawn, ...", "NAME", "auto"),
    "precision": Option(str, "32-true, bf16-mixed, 16-mixed, 64-true", "KIND", "32-true"),
    "workers": Option(int, "processes that load data", _N, 0),
}
# Those that a command line takes as words of their own: --mean 0.5 0.5 0.5.
_LISTS = {f"--{name}" for name in ("mean", "std")}


class Help(DefaultHelpFormatter):
    """Help without types, which say less than the words, and without defaults of nothing."""

    def _get_help_string(self, action: Any) -> str:
        said = action.help or ""
        shown = action.option_strings and action.default not in (None, False, "==SUPPRESS==")
        return f"{said} (default: %(default)s)" if shown and "(default" not in said else said


def make_parser(description: str) -> ArgumentParser:
    """A command's parser, without options."""
    return ArgumentParser(
        description=description, exit_on_error=False, formatter_class=Help, allow_abbrev=False
    )


def add(options: Any, names: str, **changed: Mapping[str, Any]) -> None:
    """Add options of the table, by name with spaces between.

    Args:
        options: a parser or one of its groups.
        names: of the options.
        changed: what is different here, by option: its `default` or its `help`.
    """
    for name in names.split():
        option = replace(OPTIONS[name], **changed.get(name, {}))
        flags = [*([option.short] if option.short else []), f"--{name.replace('_', '-')}"]
        if option.kind is bool:
            options.add_argument(*flags, action="store_true", help=option.help)
            continue
        # Functions that read a value take no null; a file that has one means the default.
        bare = option.default is not None or hasattr(option.kind, "__code__")
        kind = option.kind if bare else option.kind | None
        named = {} if option.metavar is None else {"metavar": option.metavar}
        options.add_argument(*flags, type=kind, default=option.default, help=option.help, **named)


def written(parser: ArgumentParser, settings: Any, command: str, **used: Any) -> bytes:
    """The options as they were used, as a file for --config."""
    values = settings.clone()
    if "photo" in values:
        del values["photo"]  # they stand under the option's name
    for name, value in used.items():
        values[name] = value
    made = ", ".join(f"{name} {number}" for name, number in versions("torch").items())
    text = parser.dump(values, skip_validation=True)
    return f"# surefoot {command} --config THIS_FILE\n# made with {made}\n{text}".encode()


def add_config(options: ArgumentParser) -> None:
    """The option that takes others from a file."""
    options.add_argument(
        "--config",
        action="config",
        metavar="FILE.yaml",
        help="take options from a file, such as the one a run leaves beside its output",
    )


def joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with the words after an option that takes a list made one.

    >>> joined(["a.png", "--mean", "0.5", "0.4", "b.png"])
    ['a.png', '--mean', '[0.5, 0.4]', 'b.png']
    """
    result: list[str] = []
    numbers: list[float] | None = None
    for word in [*arguments, "--"]:
        if numbers is not None:
            try:
                numbers.append(number(word))
            except UnreadableError:
                result += [str(numbers)] if numbers else []
                numbers = None
            else:
                continue
        result.append(word)
        numbers = [] if word in _LISTS else None
    return result[:-1]
