"""The options of `surefoot train`, and the configurations that come with the package."""

from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from surefoot.cli._options import add, make_parser
from surefoot.errors import SurefootError, suggest
from surefoot.train import Validation

CONFIGS = Path(__file__).parent.parent / "train" / "configs"
_NAMES = """
note out resume longer export seed quiet json
data data_options root download samples hold_out validate_on augment in_memory
model model_options weights mean std
objective optimizer schedule steps epochs batch replays accumulate clip average
validate_every checkpoint_every validate_epochs log_every logs best_by
adversary attacked audit explainer audited
accelerator devices nodes strategy precision workers threads
"""
_HERE: dict[str, dict[str, Any]] = {
    "out": {"metavar": "FOLDER", "default": "runs/train", "help": "where all of it goes"},
    "model": {
        "help": "a network to train from new weights (rar-cnn, resnet18-small, timm:NAME, "
        "torchvision:NAME, ...) or package.module:factory"
    },
    "weights": {"help": "to begin with, safetensors or a checkpoint"},
    "explainer": {"default": repr(Validation().explainer), "help": "what it attacks"},
}


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
    options = make_parser(
        "Train a model so that its explanations hold. Weights, checkpoints, logs and the "
        "configuration go to one folder; an interrupted run goes on with --resume."
    )
    options.add_argument(
        "--config",
        action=ActionConfig,
        metavar="NAME_OR_FILE",
        help="take options from a YAML file, or from a configuration that comes with the package, "
        "such as fashion-mnist/ig-sum-norm (an unknown name shows them all)",
    )
    add(options, _NAMES, **_HERE)
    return options
