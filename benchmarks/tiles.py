"""A whole map of a large field, and how soon a first one is seen: `surefoot explain` by itself.

python benchmarks/tiles.py [--threads 1] [--output ...]

A field of 4,000 x 3,000 pixels (a photograph of scikit-image, enlarged) with `--fit tile`, and the
photograph itself, each by the plain gradient in a process of its own: its peak memory, seconds in
all, and seconds from the loaded model to the first map in the terminal (`--preview`).
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from resume import Jobs, study, table
from surefoot import data
from surefoot.cli import _photographs, _preview, main

SIZE = (4000, 3000)


def run(name: str, *arguments: str) -> dict[str, Any]:
    """One command in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        photo = name
        if name == "field":
            photo = str(Path(folder, "field.png"))
            Image.open(data.locate("coffee")).convert("RGB").resize(SIZE).save(photo)
        threads = str(torch.get_num_threads())
        given = [photo, "--preview", "--explainer", "Gradient()", "--threads", threads]
        given += ["-o", str(Path(folder, "map.png")), *arguments]
        done = subprocess.run(  # noqa: S603 (our own command line)
            [sys.executable, __file__, "--child", *given], check=True, capture_output=True
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(given: list[str]) -> None:
    """The command with a clock in it."""
    began, marks = time.perf_counter(), {}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = work(*args, **kwargs)
            marks.setdefault(name, time.perf_counter())
            return found

        return call

    _photographs.load_model = timed("loaded", _photographs.load_model)
    _preview.show = timed("shown", _preview.show)
    main(["explain", *given])
    print()
    print(
        json.dumps(
            {
                "first map after, s": round(marks["shown"] - marks["loaded"], 2),
                "all, s": round(time.perf_counter() - began, 1),
                "peak, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


def jobs(_chosen: Any) -> Jobs:
    """The photograph, and the field."""
    return {
        "coffee, 224 pixels": partial(run, "coffee"),
        "field, 4,000 x 3,000 pixels": partial(run, "field", "--fit", "tile"),
    }


def markdown(found: dict[str, Any]) -> str:
    """The rows as a table."""
    head = ["photograph", *next(iter(found.values()))]
    return table(head, [[name, *row.values()] for name, row in found.items()])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        study(__doc__, "tiles", jobs, markdown, threads=1)
