"""Run a study's cells, or write its page; see `python -m studies --help`."""

import argparse
import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

import studies
from studies._cells import RESULTS, Cell
from studies._page import PAGES, write

NAMES = ("decoys", "saliency", "attributional")


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m studies",
        description=studies.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", choices=NAMES)
    parser.add_argument("--size", choices=("full", "smoke"), default="full")
    parser.add_argument("--only", help="cells whose names begin so, such as fashion-mnist/igr")
    parser.add_argument("--root", type=Path, help="folder of the data sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies"), help="for what is made")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="the cells, and which are done")
    parser.add_argument("--again", action="store_true", help="run a cell anew and compare it")
    parser.add_argument("--page", action="store_true", help="write the page from the results")
    return parser


def main() -> None:
    """Whatever the command line asks for."""
    chosen = options().parse_args()
    study: Any = importlib.import_module(f"studies.{chosen.study}")
    smoke = chosen.size == "smoke"
    results = (chosen.runs / "smoke" if smoke else RESULTS) / chosen.study
    if chosen.page:
        print(write(study.STUDY, results, results if smoke else PAGES))
        return
    torch.set_num_threads(chosen.threads)
    cells = [
        cell
        for cell in study.cells(chosen.size, chosen.root)
        if cell.name.startswith(chosen.only or "")
    ]
    if not cells:
        sys.exit(f"no cell's name begins with {chosen.only!r}; --list shows them")
    for cell in cells:
        _one(cell, results, chosen)


def _one(cell: Cell, results: Path, chosen: argparse.Namespace) -> None:
    path, folder = cell.file(results), chosen.runs / chosen.study / chosen.size / cell.name
    done = path.exists()
    if chosen.list:
        print(f"{'done' if done else 'to do':5}  {cell.name}")
        return
    if done and not chosen.again:
        return
    if chosen.again:
        path, folder = chosen.runs / "again" / path.name, folder.with_name(f"{cell.seed}-again")
        shutil.rmtree(folder, ignore_errors=True)
    found = cell.run(folder)
    found.save(path)
    print(cell.name, dict(found.figures), flush=True)


if __name__ == "__main__":
    main()
