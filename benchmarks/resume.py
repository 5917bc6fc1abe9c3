"""What the studies share: result files that grow row by row, and the labelled photographs."""

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import data, gradients
from surefoot.files import write_whole

RESULTS = Path("benchmarks/results")


Jobs = dict[str, Callable[[], Any]]


def study(
    about: str | None,
    name: str,
    jobs: Callable[[argparse.Namespace], Jobs],
    markdown: Callable[[dict[str, Any]], str],
    *,
    options: Callable[[argparse.ArgumentParser], Any] = lambda _parser: None,
    threads: int = 2,
) -> None:
    """The command line of a study: run what its result file does not hold yet, or print it."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    parser.add_argument("--markdown", action="store_true", help="print the result file as tables")
    chosen = parser.parse_args()
    if chosen.markdown:
        print(markdown(json.loads(chosen.output.read_text())))
        return
    torch.set_num_threads(chosen.threads)
    rows(chosen.output, jobs(chosen))


def rows(path: Path, jobs: Jobs) -> dict[str, Any]:
    """Run the jobs that the file at `path` does not hold, writing each as it ends; all rows.

    The file is read anew each time, so that processes with different jobs can share it.
    """
    for name, run in jobs.items():
        if name not in _read(path):
            row = run()
            write_whole(path, (json.dumps(_read(path) | {name: row}, indent=1) + "\n").encode())
            print(name, json.dumps(row), flush=True)
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def correct_photographs(model: nn.Module, size: int) -> list[tuple[str, Tensor]]:
    """The labelled photographs that the model gets right: name, (3, size, size).

    foolbox's 20 of ImageNet's classes, then scikit-image's cat and cup of espresso.
    """
    package = importlib.util.find_spec("foolbox")
    if package is None or package.origin is None:
        raise SystemExit("the photographs come with foolbox: pip install --no-deps foolbox")
    folder = Path(package.origin).parent / "data"
    known = {path: int(path.stem.rpartition("_")[2]) for path in sorted(folder.glob("imagenet_*"))}
    known |= {data.locate("chelsea"): 285, data.locate("coffee"): 967}
    images = torch.stack([data.load_image(path, size) for path in known])
    guesses = gradients.predict(model, images).argmax(1).tolist()
    return [
        (path.stem, image)
        for (path, label), image, guess in zip(known.items(), images, guesses, strict=True)
        if guess == label
    ]


def mean(values: list[float]) -> float:
    """To four decimals."""
    return round(sum(values) / len(values), 4)


def table(head: list[str], lines: list[list[Any]]) -> str:
    """Markdown."""
    text = [
        [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *text])
