"""The options of `surefoot train`, and the configurations that come with the package."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from surefoot.errors import SurefootError, suggest
from surefoot.train import Loop, Validation

CONFIGS = Path(__file__).parent.parent / "train" / "configs"
_LOOP = Loop()
_VALIDATION = Validation()


class ActionConfig(ActionConfigFile):
    """Takes a file, or the name of a configuration that comes with the package."""

    def __call__(self, parser: Any, cfg: Any, values: Any, _option: Any = None) -> None:
        """Put the file's options where the command line's are."""
        self.apply_config(parser, cfg, self.dest, str(find_config(values)))


def configs() -> list[str]:
    """The names of the configurations that come with the package.

    >>> "fashion-mnist/ig-sum-norm" in configs()
    True
    """
    paths = sorted(CONFIGS.rglob("*.yaml"))
    return [path.relative_to(CONFIGS).with_suffix("").as_posix() for path in paths]


def find_config(name: str) -> Path:
    """The file of that path, or else the configuration of that name.

    Raises:
        SurefootError: there is neither; the message names close matches.
    """
    if Path(name).is_file():
        return Path(name)
    if name not in configs():
        raise SurefootError(
            f"there is no file or configuration {name!r}; {suggest(name, configs())}"
        )
    return CONFIGS / f"{name}.yaml"


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        description="Train a model so that its explanations hold. Weights, checkpoints, logs and "
        "the configuration go to one folder; an interrupted run goes on with --resume.",
        exit_on_error=False,
    )
    options.add_argument(
        "--config",
        action=ActionConfig,
        metavar="NAME_OR_FILE",
        help="take options from a YAML file, or from a configuration that comes with the package, "
        "such as fashion-mnist/ig-sum-norm (an unknown name shows them all)",
    )
    for add in (_add_run, _add_data, _add_model, _add_training, _add_watching, _add_hardware):
        add(options)
    return options


def _add_run(options: ArgumentParser) -> None:
    options.add_argument("--note", type=str | None, help="free text, kept with the run")
    options.add_argument(
        "-o", "--out", type=str, default="runs/train", metavar="FOLDER", help="where all of it goes"
    )
    options.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in the folder"
    )
    options.add_argument(
        "--export",
        type=str | None,
        metavar="FOLDER",
        help="also write the trained network in a quarter of the space, with a card, as a model "
        "that --model FOLDER loads",
    )
    options.add_argument(
        "--seed", type=int, default=0, help="of new weights, the order of the data and all draws"
    )


def _add_data(options: ArgumentParser) -> None:
    options.add_argument(
        "--data",
        type=str | None,
        metavar="NAME",
        help="a data set: fashion-mnist, gtsrb, folder:PATH, arrays:FILE.npz, ...",
    )
    options.add_argument(
        "--data-options",
        type=dict[str, Any] | None,
        metavar="{NAME: VALUE}",
        help="the data set's own",
    )
    options.add_argument(
        "--root",
        type=str | None,
        metavar="FOLDER",
        help="that holds data sets (default: $SUREFOOT_DATA)",
    )
    options.add_argument(
        "--download", action="store_true", help="fetch the data set first, where that is possible"
    )
    options.add_argument(
        "--samples", type=int | None, metavar="N", help="train on so many, drawn once for all seeds"
    )
    options.add_argument(
        "--hold-out",
        type=int | None,
        metavar="N",
        help="training samples that are kept for validation, the same for all seeds (default: "
        "1000, or none with --validate-on)",
    )
    options.add_argument(
        "--validate-on",
        type=Literal["held-out", "validation", "test"],
        default="held-out",
        help="what the figures are of: those training samples, or a split of the data set; "
        "nothing is chosen on the test, so there is no best checkpoint then",
    )
    options.add_argument(
        "--augment", type=str | None, metavar="RECIPE", help="such as CropAndFlip(padding=4)"
    )
    options.add_argument(
        "--in-memory", action="store_true", help="read all pictures of a folder at the beginning"
    )


def _add_model(options: ArgumentParser) -> None:
    options.add_argument(
        "--model",
        type=str | None,
        metavar="NAME_OR_FACTORY",
        help="a network to train from new weights (rar-cnn, resnet18-small, timm:NAME, "
        "torchvision:NAME, ...) or package.module:factory",
    )
    options.add_argument(
        "--model-options",
        type=dict[str, Any] | None,
        metavar="{NAME: VALUE}",
        help="the network's own; classes, channels, size and vocabulary come from the data",
    )
    options.add_argument(
        "--weights",
        type=str | None,
        metavar="FILE",
        help="to begin with, safetensors or a checkpoint",
    )
    options.add_argument(
        "--mean", type=list[float] | None, metavar="[M, ...]", help="subtracted from the pixels"
    )
    options.add_argument(
        "--std", type=list[float] | None, metavar="[S, ...]", help="pixels are divided by it"
    )


def _add_training(options: ArgumentParser) -> None:
    options.add_argument(
        "--objective",
        type=str | None,
        metavar="RECIPE",
        help="such as SCAAT(epsilon=4/255), written as in Python",
    )
    options.add_argument(
        "--optimizer",
        type=str,
        default=_LOOP.optimizer,
        metavar="RECIPE",
        help="of torch.optim, such as SGD(lr=0.1, momentum=0.9)",
    )
    options.add_argument(
        "--schedule",
        type=str | None,
        metavar="RECIPE",
        help="of torch.optim.lr_scheduler, by steps, such as CosineAnnealingLR(); or "
        "Piecewise({500: 10}), ten times the rate from step 500",
    )
    options.add_argument("--steps", type=int | None, metavar="N", help="optimiser steps")
    options.add_argument(
        "--epochs", type=float | None, metavar="N", help="passes over the data, instead"
    )
    options.add_argument(
        "--batch", type=int, default=_LOOP.batch, help="samples a step, over all processes"
    )
    options.add_argument(
        "--replays", type=int, default=1, metavar="M", help="steps on each batch (FreeAT)"
    )
    options.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="pieces a batch is taken in"
    )
    options.add_argument("--clip", type=float | None, help="largest norm of the gradient")
    options.add_argument(
        "--average", type=float | None, help="decay of a moving average of the weights"
    )


def _add_watching(options: ArgumentParser) -> None:
    for what in ("validate", "checkpoint"):
        options.add_argument(
            f"--{what}-every",
            type=int | None,
            metavar="STEPS",
            help="(default: a pass over the data)",
        )
    options.add_argument(
        "--validate-epochs", type=int | None, metavar="N", help="instead of --validate-every"
    )
    options.add_argument("--log-every", type=int, default=10, metavar="STEPS", help="lines of logs")
    options.add_argument(
        "--logs",
        type=list[str] | str,
        default=["csv"],
        metavar="NAME,...",
        help="csv, tensorboard, or both as csv,tensorboard",
    )
    options.add_argument(
        "--best-by",
        type=str,
        default="accuracy",
        metavar="FIGURE",
        help="whose highest value makes the best checkpoint",
    )
    options.add_argument(
        "--adversary",
        type=str,
        default=repr(_VALIDATION.adversary),
        metavar="RECIPE",
        help="the attack of adversarial accuracy; none for none",
    )
    options.add_argument(
        "--attacked", type=int, default=_VALIDATION.attacked, metavar="N", help="samples for it"
    )
    options.add_argument(
        "--audit",
        type=str,
        default=repr(_VALIDATION.audit),
        metavar="RECIPE",
        help="the attack on explanations; none for none",
    )
    options.add_argument(
        "--explainer",
        type=str,
        default=repr(_VALIDATION.explainer),
        metavar="RECIPE",
        help="what it attacks",
    )
    options.add_argument(
        "--audited", type=int, default=_VALIDATION.audited, metavar="N", help="samples for it"
    )


def _add_hardware(options: ArgumentParser) -> None:
    options.add_argument(
        "--accelerator", type=str, default="auto", help="cpu, cuda, mps, tpu, or auto: the fastest"
    )
    options.add_argument(
        "--devices", type=str, default="1", help="their number, their list as 0,1, or auto: all"
    )
    options.add_argument("--nodes", type=int, default=1, help="machines")
    options.add_argument(
        "--strategy", type=str, default="auto", help="over several devices: ddp, ddp_spawn, ..."
    )
    options.add_argument(
        "--precision", type=str, default="32-true", help="32-true, bf16-mixed, 16-mixed, 64-true"
    )
    options.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that load data"
    )
    options.add_argument("--threads", type=int | None, metavar="N", help="CPU threads to use")
