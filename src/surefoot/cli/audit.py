"""`surefoot audit PHOTO... -o runs/audit`: whether explanations hold, over many samples."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from surefoot import attack, auditing, certify, data, explain, gradients
from surefoot.cli import _inputs, _outputs
from surefoot.cli._options import add, written
from surefoot.cli._photographs import photographs_parser
from surefoot.cli._shared import load_model, try_model
from surefoot.errors import SurefootError, optional
from surefoot.files import make_folder, write_whole
from surefoot.recipes import Recipe

HELP = "audit explanations: every explainer under every attack, over many samples"
EXPLAINERS = {
    "gradient": "Gradient()",
    "integrated gradients": "IntegratedGradients(steps=8)",
    "smoothgrad": "SmoothGrad(Gradient(), samples=10)",
}
ATTACKS = {"topk": "TopK(Linf(1/255, steps=10), k=0.05)", "jpeg": "JPEG(quality=75)"}
SOME_FAILED = 1
_PATIENCE = 20  # seconds until a scheduler has answered
STATUS = "status"
CONFIG, PAGE = "audit.yaml", "audit.html"


def parser() -> ArgumentParser:
    """The options of the command."""
    options = photographs_parser(
        "Put explainers under attacks, over the photographs or the data set given, and write a "
        "folder of results and a page. What is finished stays: the same command goes on where it "
        f"was stopped. `surefoot audit {STATUS} FOLDER` says how far a run is."
    )
    add(options, "data data_options root reduction")
    more: dict[str, tuple[Any, Any, str, str]] = {
        "split": (str, "test", "NAME", "of the data set"),
        "explainers": (dict[str, str], EXPLAINERS, "{NAME: RECIPE}", "by name"),
        "attacks": (dict[str, str], ATTACKS, "{NAME: RECIPE}", "attacks and natural changes"),
        "metrics": (list[str], list(auditing.METRICS), "[NAME, ...]", "scores"),
        "limit": (int | None, None, "N", "samples to take (default: all that are right)"),
        "block": (int, 16, "N", "consecutive samples that are worked on, and written, as one"),
        "batch_size": (int | None, None, "N", "samples that go through together, to bound memory"),
        "control_draws": (int, 5, "N", "random signs to average over"),
        "seed": (int, 0, "N", "of the controls"),
        "workers": (int, 0, "N", "processes that share the blocks, and the threads"),
        "worker_devices": (list[str] | None, None, "[cuda:0, ...]", "shared out among workers"),
        "dask": (str | None, None, "ADDRESS", "of a Dask scheduler whose workers do the blocks"),
    }
    for name, (kind, default, metavar, text) in more.items():
        flag = f"--{name.replace('_', '-')}"
        options.add_argument(flag, type=kind, default=default, metavar=metavar, help=text)
    options.add_argument(
        "--ranks", action="store_true", help="share the blocks with the ranks of torchrun or srun"
    )
    options.add_argument("--overwrite", action="store_true", help="replace what is in the folder")
    options.add_argument(
        "--dry-run", action="store_true", help="say how many passes, how long, how much memory"
    )
    options.add_argument(
        "-o", "--out", type=str, default="runs/audit", metavar="FOLDER", help="for the results"
    )
    return options


def run(settings: Any) -> int:
    """Audit, and say what came of it; or say how far an audit is.

    Returns:
        1 if something failed on some of the samples, else 0.

    Raises:
        SurefootError: an option that cannot be used, or a folder that holds another audit.
    """
    if settings.photo[:1] == [STATUS]:
        _status(settings, _only(settings.photo[1:]))
        return 0
    if settings.fit == "tile":
        raise SurefootError("--fit tile is for surefoot explain; take crop, pad or squash here")
    asked = _asked(settings)
    if not settings.dry_run:
        _outputs.check_own(Path(settings.out) / CONFIG)
    model, card = load_model(settings)
    samples = _samples(settings, model, card)
    loader = DataLoader(samples, batch_size=settings.batch_size or settings.block)
    if settings.dry_run:
        cost = auditing.estimate(asked, model, loader)
        _outputs.say(settings, [str(cost)])
        _outputs.tell(settings, {"command": "audit", "dry run": asdict(cost)})
        return 0
    ranks = auditing.Ranks.of() if settings.ranks else None
    out = make_folder(settings.out)
    if not (out / CONFIG).exists() and (ranks is None or not ranks.rank):
        write_whole(out / CONFIG, _config(settings))  # already now, to go on with after a kill
    seen = sys.stderr.isatty() and not (settings.quiet or settings.json)
    with _executor(settings) as executor:
        given = (asked, model, loader, out, settings.overwrite, executor, seen)
        result = auditing.run(*given, ranks=ranks)
    if ranks is not None and ranks.rank:
        return 0  # the first one tells
    write_whole(out / CONFIG, _config(settings))
    result.html(out / PAGE)
    return _tell(settings, out, result)


def _tell(settings: Any, out: Path, result: auditing.AuditResult) -> int:
    """Say what was found and written; the exit code."""
    failed: int = result.settings["failed"]
    files = [out / PAGE, out / CONFIG]
    _outputs.say(settings, str(result).splitlines())
    if settings.json:
        rows = json.loads(result.summary().to_json(orient="records"))
        found = {"command": "audit", "folder": str(out), **result.settings["samples"]}
        more = {"failed": failed, "summary": rows, "files": list(map(str, files))}
        _outputs.tell(settings, {**found, **more})
    _outputs.wrote(settings, files)
    if failed:
        print(f"surefoot: something failed on {failed} samples, see `error`", file=sys.stderr)
    return SOME_FAILED if failed else 0


def _status(settings: Any, folder: str) -> None:
    found = auditing.status(folder)
    _outputs.say(settings, found.lines())
    _outputs.tell(settings, {"command": f"audit {STATUS}", "folder": folder, **asdict(found)})


@dataclass(frozen=True, eq=False)
class Photographs(Dataset[tuple[Tensor, int]]):
    """Photographs with the classes that a model predicts for them."""

    paths: Sequence[Path]
    labels: Sequence[int]
    size: int
    channels: int
    classes: Sequence[str] | None = None
    fit: data.Fit = "crop"

    @property
    def names(self) -> list[str]:
        """Of the files."""
        return [path.name for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path = self.paths[number]
        return pixels(path, self.size, self.channels, self.fit), self.labels[number]


def pixels(path: Path, size: int, channels: int, fit: data.Fit = "crop") -> Tensor:
    """A photograph, (channels, size, size) in [0, 1]."""
    return data.load_pixels(path, size, channels, fit).float() / 255


def _samples(settings: Any, model: nn.Module, card: Any) -> Dataset[Any]:
    """The data set, or the photographs with the predicted classes."""
    photos = _inputs.expand(settings.photo or settings.photos or [])
    if bool(photos) == (settings.data is not None):
        raise SurefootError(
            "give photographs, or a data set with --data; for example: surefoot audit chelsea "
            "coffee eagle -o runs/audit"
        )
    if settings.data is not None:
        more = dict(settings.data_options or {})
        found: Dataset[Any] = data.load(settings.data, settings.split, settings.root, **more)
        return found
    paths = [data.locate(photo) for photo in photos]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sizes = [data.dimensions(path) for path in paths]
    _inputs.check(photos, sizes, card.size, settings.fit)
    shape = (card.size, card.channels, settings.fit)
    each = (pixels(path, *shape)[None].to(device) for path in paths)
    first = next(each)
    try_model(model, first)
    labels = [int(gradients.predict(model, one).argmax()) for one in [first, *each]]
    return Photographs(paths, labels, card.size, card.channels, card.labels, settings.fit)


def _asked(settings: Any) -> auditing.Settings:
    return auditing.Settings(
        explainers={name: explain.parse(text) for name, text in settings.explainers.items()},
        attacks={name: _attack(text) for name, text in settings.attacks.items()},
        metrics=[_metric(text) for text in settings.metrics],
        reduction=settings.reduction,
        limit=settings.limit,
        block=settings.block,
        batch_size=settings.batch_size,
        draws=settings.control_draws,
        seed=settings.seed,
        about={"command": f"surefoot audit --config {shlex.quote(f'{settings.out}/audit.yaml')}"}
        | {"model": settings.model, "data": settings.data or "photographs, by predicted class"},
    )


def _metric(text: str) -> Any:
    """A metric's name, or a certified floor."""
    return certify.FLOORS.parse(text) if "(" in text else text


def _attack(text: str) -> Recipe:
    name = text.partition("(")[0].strip()
    changes = auditing.natural.CHANGES
    return changes.parse(text) if name in changes.known() else attack.parse(text)


@contextmanager
def _executor(settings: Any) -> Iterator[Executor | None]:
    """Who does the blocks."""
    if settings.dask is not None:
        with _cluster(settings.dask) as client:
            yield client.get_executor()
    elif settings.workers:
        with auditing.Processes(settings.workers, None, settings.worker_devices or ()) as executor:
            yield executor
    else:
        yield None


def _cluster(address: str) -> Any:
    """A client of the Dask scheduler there."""
    distributed = optional("distributed", "dask")
    try:
        return distributed.Client(address, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise SurefootError(
            f"--dask={address}: {error}; expected the address of a scheduler that runs, such as "
            "tcp://127.0.0.1:8786"
        ) from error


def _config(settings: Any) -> bytes:
    given = [_inputs.kept(photo) for photo in settings.photo or settings.photos or []]
    used: Mapping[str, Any] = {"photos": given or None}
    return written(parser(), settings, "audit", **used, overwrite=False, dry_run=False)


def _only(given: Sequence[str]) -> str:
    if len(given) != 1:
        raise SurefootError(f"write: surefoot audit {STATUS} FOLDER")
    return given[0]
