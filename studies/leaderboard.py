"""The leaderboard: a card a network, measured by one command, and a page made of the cards.

    python -m studies.leaderboard add NAME FOLDER --root DATA     # one more network, or a newer one
    python -m studies.leaderboard add NAME --root DATA            # measured anew
    python -m studies.leaderboard cell NAME fashion-mnist/igr/0 --root DATA --runs runs/studies
    python -m studies.leaderboard found NAME EXAMPLES.npz --attack "..." --by "..." --root DATA
    python -m studies.leaderboard page [--check]

NAME begins with the data set, such as fashion-mnist/mine. FOLDER is what `surefoot train --export`
or `models.save` wrote. `cell` takes a network that the study of attributional robustness trained.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies import _board, attributional
from studies._board_page import page
from studies._cells import RESULTS, Found
from studies._tasks import Task, smoke, tasks
from surefoot import SurefootError, models, train
from surefoot.files import seal, write_whole

PAGE = Path("docs/leaderboard.md")
RELEASE = Path("zoo")
LARGEST = 1_000_000  # bytes of weights that come with the package
_CLAIMS = {
    "accuracy": "accuracy",
    "adversarial_accuracy": "adversarial accuracy",
    "topk_intersection": "left under TopK",
}


def add(name: str, folder: Path, root: Path | None, protocol: _board.Protocol) -> Path:
    """Measure the network in a folder and put its card and weights where they belong.

    Args:
        name: of the network, beginning with its data set.
        folder: with a card and weights; the zoo's own to measure that anew.
        root: of the data sets.
        protocol: how much is measured.

    Returns:
        The card.

    Raises:
        SurefootError: no such data set; a folder that is no saved network; a card that does not
            say how its network came to be.
    """
    card = models.read_card(folder)
    task = task_of(name, root)
    weights = models.weights_of(folder, card).read_bytes()
    net = models.load(name if folder == models.ZOO / name else folder)
    told = _board.standing(net, task, task.load("test"), protocol, _about(name, card, folder))
    return _placed(name, {**card, "standing": told}, weights)


def task_of(name: str, root: Path | None) -> Task:
    """The data set, ball and k that a network's name begins with.

    Raises:
        SurefootError: none of that name.
    """
    known = {task.name: task for task in (*tasks(root), smoke())}
    data = name.split("/", maxsplit=1)[0]
    if data not in known or "/" not in name:
        raise SurefootError(
            f"{name!r} begins with no data set of the board; expected one of {', '.join(known)}, a "
            "slash, and a name"
        )
    return known[data]


def _about(name: str, card: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    if "standing" in card:
        old = card["standing"]
        about = {entry: old[entry] for entry in ("method", "by", "source", "claimed")}
    elif "command" not in card or not (card.get("method") or card.get("options")):
        raise SurefootError(
            f"{folder / models.CARD} says neither how its network was trained nor by what command; "
            "write `method` and `command` with models.save(about=...), or take surefoot train "
            "--export"
        )
    else:
        figures = card.get("figures", {})
        method = card.get("method") or card["options"]["objective"]
        about = {
            "method": method,
            "by": card.get("by", _board.BY),
            "source": card.get("source") or _source(method),
            "claimed": {new: figures[old] for old, new in _CLAIMS.items() if old in figures},
        }
    return {**about, "command": f"python -m studies.leaderboard add {name} --root DATA"}


def _source(objective: str) -> str:
    """The paper that an objective of this library tells of in its module's first line.

    >>> _source("PGD(0.1)"), _source("Natural()")
    ('arXiv 1706.06083', 'this project')
    """
    module = sys.modules[type(train.parse(objective)).__module__]
    found = re.search(r"arXiv [\d.]+\d", (module.__doc__ or "").split("\n")[0])
    return found[0] if found else "this project"


def _placed(name: str, card: Mapping[str, Any], weights: bytes) -> Path:
    """Card and weights of the zoo: small ones together, others among a release's files."""
    bare = {entry: value for entry, value in card.items() if entry not in ("files", "digest")}
    place, small = models.ZOO / name, len(weights) <= LARGEST
    place.mkdir(parents=True, exist_ok=True)
    RELEASE.mkdir(exist_ok=True)
    there = place / models.WEIGHTS, RELEASE / models.file_name(name)
    write_whole(there[0] if small else there[1], weights)
    there[1 if small else 0].unlink(missing_ok=True)
    write_whole(place / models.CARD, seal(bare, {models.WEIGHTS: weights}))
    return place / models.CARD


def cell(
    name: str, which: str, root: Path | None, runs: Path, out: Path, results: Path = RESULTS
) -> Path:
    """Save a network of the study of attributional robustness into a folder, with its card."""
    found = [one for one in attributional.cells("full", root) if one.name == which]
    weights = runs / "attributional" / "full" / which / "training" / "model.safetensors"
    if not found or not weights.is_file():
        raise SurefootError(
            f"the study trains no {which!r}"
            if not found
            else f"there is no {weights}: python -m studies attributional --only {which} trains it"
        )
    data, arm, seed = which.split("/")
    task = task_of(name, root)
    if data != task.name:
        raise SurefootError(f"{which} is of {data}, and {name} begins with {task.name}")
    samples = task.load("test")
    settings = {**task.options, "classes": len(samples.classes)}
    net = models.load(task.network, weights=weights, **settings)
    about = {
        "note": f"Narrow tier of the study of attributional robustness, seed {seed}.",
        "method": repr(attributional.objectives(task.epsilon)[arm]),
        "by": _board.BY,
        "command": f"python -m studies attributional --only {which} --root DATA",
        "figures": _study_figures(found[0].file(results / "attributional")),
    }
    models.save(net, out, task.network, settings=settings, labels=samples.classes, about=about)
    return out


def _study_figures(path: Path) -> dict[str, float]:
    """What the study measured of the network before its weights were rounded."""
    if not path.is_file():
        return {}
    found = Found.load(path)
    values = found.values[found.values["explainer"] == "ig"]
    left = values[(values["attack"] == "topk") & (values["metric"] == "topk_intersection")]
    return {
        "accuracy": found.figures["accuracy"],
        "adversarial_accuracy": found.figures["accuracy under PGD-20"],
        "topk_intersection": float(left["value"].mean()),
    }


def found(name: str, file: Path, root: Path | None, by: str, protocol: _board.Protocol) -> Path:
    """Lower the best known value by examples that someone sent, once they are verified."""
    card, task, net = models.read_card(models.ZOO / name), task_of(name, root), models.load(name)
    with np.load(file) as content:
        examples = torch.from_numpy(content["inputs"])
    x = _board.images(net, task, task.load("test"), protocol)
    old = card["standing"]
    new = {**old, "best known": _board.verified(net, task, x, examples, old["best known"], by)}
    weights = models.weights_of(models.ZOO / name, card).read_bytes()
    return _placed(name, {**card, "standing": new}, weights)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m studies.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    each = {name: commands.add_parser(name) for name in ("add", "cell", "found", "page")}
    for command in ("add", "cell", "found"):
        each[command].add_argument("name")
        each[command].add_argument("--root", type=Path, help="folder of the data sets")
    each["add"].add_argument("folder", type=Path, nargs="?")
    each["cell"].add_argument("cell", help="of the study, such as fashion-mnist/igr/0")
    each["cell"].add_argument("--runs", type=Path, default=Path("runs/studies"))
    each["cell"].add_argument("--results", type=Path, default=RESULTS, help="of the studies")
    each["found"].add_argument("examples", type=Path, help=".npz with `inputs`")
    each["found"].add_argument("--attack", required=True, help="what found them")
    each["found"].add_argument("--by", required=True, help="who")
    each["page"].add_argument("--check", action="store_true", help="fail unless it is up to date")
    return parser


def main() -> None:
    """Whatever the command line asks for."""
    chosen, protocol = options().parse_args(), _board.Protocol()
    try:
        if chosen.command == "add":
            folder = chosen.folder or models.ZOO / chosen.name
            print(add(chosen.name, folder, chosen.root, protocol))
        elif chosen.command == "cell":
            with tempfile.TemporaryDirectory() as folder:
                places = chosen.runs, Path(folder), chosen.results
                saved = cell(chosen.name, chosen.cell, chosen.root, *places)
                print(add(chosen.name, saved, chosen.root, protocol))
        elif chosen.command == "found":
            by = f"{chosen.attack}, {chosen.by}"
            print(found(chosen.name, chosen.examples, chosen.root, by, protocol))
        text = page(models.cards())
    except SurefootError as error:
        sys.exit(f"{error}")
    if chosen.command == "page" and chosen.check:
        if PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE} is not what the cards say: python -m studies.leaderboard page")
    else:
        write_whole(PAGE, text.encode())


if __name__ == "__main__":
    main()
