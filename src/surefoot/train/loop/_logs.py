"""Where the course of a run is written: a CSV file, TensorBoard, a progress bar."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from surefoot.errors import SurefootError, optional
from surefoot.files import write_whole

Log = Literal["csv", "tensorboard"]
Progress = bool | Callable[[int, int, Mapping[str, float]], None]
Row = tuple[int, str, float]

NAME = "metrics.csv"
_HEADER = ("step", "name", "value")


class Logs:
    """The logs in one folder, all of them written by the first process alone.

    metrics.csv has the columns step, name and value, a line for each figure. Lines of steps after
    `start` are an interrupted run's and are dropped.

    Raises:
        SurefootError: they cannot be written, or an unknown sort of log.
    """

    def __init__(self, folder: Path, kinds: tuple[Log, ...], start: int) -> None:
        for kind in kinds:
            if kind not in ("csv", "tensorboard"):
                raise SurefootError(f"logs has {kind!r}, expected 'csv' or 'tensorboard'")
        self.path = folder / NAME if "csv" in kinds else None
        self.board: Any = _tensorboard(folder, start) if "tensorboard" in kinds else None
        if self.path is not None:
            rows = [row for row in read(self.path) if row[0] <= start]
            write_whole(self.path, _lines([_HEADER, *rows]).encode())

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        if self.board is not None:
            self.board.log_metrics(dict(figures), step)
        if self.path is None:
            return
        try:
            with self.path.open("a", newline="") as file:
                file.write(_lines([(step, name, value) for name, value in figures.items()]))
        except OSError as error:
            raise SurefootError(f"cannot write {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing more will come."""
        if self.board is not None:
            self.board.finalize("success")


def read(path: str | Path) -> list[Row]:
    """The lines of a metrics.csv; none if there is no such file, and not what is half-written."""
    path = Path(path)
    rows = []
    for line in csv.reader(path.read_text().splitlines()) if path.exists() else ():
        try:
            step, name, value = line
            rows.append((int(step), name, float(value)))
        except ValueError:  # the header, or a line cut off
            continue
    return rows


def _lines(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _tensorboard(folder: Path, start: int) -> Any:
    loggers = optional("lightning_fabric.loggers", "train")
    try:
        return loggers.TensorBoardLogger(
            folder, name=None, version="tensorboard", purge_step=start + 1
        )
    except ModuleNotFoundError as error:
        raise SurefootError(
            'tensorboardX is not installed; install it with: pip install "surefoot[tensorboard]"'
        ) from error


class Bar:
    """Steps done, with the terms of the loss behind them."""

    def __init__(self, progress: Progress, name: str, start: int, steps: int) -> None:
        self.steps = steps
        self.call = progress if callable(progress) else None
        self.bar: Any = None
        if progress is True:
            self.bar = optional("tqdm.auto", "train").tqdm(
                desc=name, initial=start, total=steps, unit="step"
            )

    def show(self, step: int, terms: Mapping[str, float]) -> None:
        """So many steps are done; `terms` may be empty."""
        if self.call is not None:
            self.call(step, self.steps, terms)
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            if terms:
                self.bar.set_postfix({name: f"{value:.4g}" for name, value in terms.items()})

    def close(self) -> None:
        """The run has ended."""
        if self.bar is not None:
            self.bar.close()
