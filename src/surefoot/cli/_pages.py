"""Photograph after photograph, and pictures of so many each: no run holds more than one picture."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from jsonargparse import ArgumentParser
from torch import Tensor
from tqdm import tqdm

from surefoot.cli import _inputs, _outputs, _passes
from surefoot.cli._options import written
from surefoot.cli._photographs import Case
from surefoot.errors import SurefootError
from surefoot.files import write_whole

T = TypeVar("T")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Page:
    """What one picture holds.

    Attributes:
        case: with the photographs of this picture alone.
        number: which picture of the run it is, from 1.
        photos: all photographs of the run.
    """

    case: Case
    number: int
    photos: Sequence[str]

    def path(self, path: str | Path) -> Path:
        """The name that a file of the run has for this picture."""
        return _outputs.numbered(path, self.number)


Write = Callable[[Page, list[T]], dict[str, Any]]


def each_photograph(
    settings: Any,
    case: Case,
    work: Callable[[Tensor, Progress], T],
    write: Write[T],
    *,
    verbs: tuple[str, str],
    units: int = 1,
    unit: str = "photograph",
    passes: bool = False,
) -> None:
    """Work on each photograph by itself under a progress bar, and write picture after picture.

    Photographs are read when their turn comes, and a picture's results are dropped once it is
    written: memory does not grow with their number. What is finished is written also when a later
    photograph fails or the run is interrupted. Of several, those that cannot be read are passed
    over and told of at the end.

    Args:
        settings: the options.
        case: the photographs.
        work: makes one photograph's result; may call what it gets with the units done and their
            number.
        write: writes a picture's results, at least one; gives what is to be told of them.
        verbs: such as ("explaining", "explained").
        units: of work in one photograph.
        unit: their name.
        passes: whether units are inputs through the model, counted, and so many about.

    Raises:
        SurefootError: the model fails, there is not enough memory, a photograph cannot be read.
    """
    doing, done = verbs
    run = _Run(settings, case, write)
    silent = True if settings.quiet or settings.json else None
    bar = tqdm(total=len(case.photos) * units, desc=doing, unit=unit, disable=silent)
    number = 0
    try:
        with bar:

            def progress(now: int, _total: int) -> None:
                bar.update(number * units + now - bar.n)

            for number in range(len(case.photos)):
                image = run.read(number)
                if image is not None:
                    with _passes.counted(case.model, bar) if passes else nullcontext():
                        run.add(number, work(image, progress))
                progress(units, units)
    except (RuntimeError, MemoryError) as error:  # from the model, or no memory
        raise SurefootError(_failure(case.photos[number], done, error)) from error
    finally:
        run.close()
    run.check()


@dataclass
class _Run(Generic[T]):
    """The picture that is being made, and what is to be told of those before."""

    settings: Any
    case: Case
    write: Write[T]
    rows: list[int] = field(default_factory=list)
    results: list[T] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    pages: int = 0
    unread: list[str] = field(default_factory=list)

    def read(self, number: int) -> Tensor | None:
        """A photograph's pixels; None where it cannot be read and there are others."""
        try:
            return self.case.images[number]
        except SurefootError as error:
            if len(self.case.photos) == 1:
                raise
            self.unread.append(str(error))
            return None

    def add(self, number: int, result: T) -> None:
        self.rows.append(number)
        self.results.append(result)
        if len(self.rows) == self.settings.rows:
            self.flush()

    def flush(self) -> None:
        """Write the picture of what there is."""
        rows, results = self.rows, self.results
        if not rows:
            return
        self.rows, self.results, self.pages = [], [], self.pages + 1
        page = Page(self.case.take(rows), self.pages, self.case.photos)
        with tqdm.external_write_mode():
            found = self.write(page, results)
        for name, value in found.items():
            grows = name in ("photographs", "files")
            self.told[name] = [*self.told.get(name, []), *value] if grows else value

    def close(self) -> None:
        """Write the last picture, and tell of all."""
        self.flush()
        if not self.told:
            return
        finished = len(self.told["photographs"])
        if finished + len(self.unread) < len(self.case.photos):
            last = (
                "" if self.pages == 1 else f" to {_outputs.numbered(self.settings.out, self.pages)}"
            )
            print(
                f"surefoot: {self.settings.out}{last} hold{'' if last else 's'} the {finished} "
                f"photographs finished of {len(self.case.photos)}",
                file=sys.stderr,
            )
        _outputs.tell(self.settings, self.told)

    def check(self) -> None:
        """Raise for photographs that could not be read."""
        if self.unread:
            many = f"; and {len(self.unread) - 1} others" if len(self.unread) > 1 else ""
            raise SurefootError(f"{self.unread[0]}{many}; the rest is written")


def _failure(photo: str, done: str, error: Exception) -> str:
    """What went wrong with a photograph, in a sentence."""
    text = str(error)
    if isinstance(error, MemoryError) or "memory" in text or "alloc" in text:
        first = text.splitlines()[0] if text else type(error).__name__
        return (
            f"{photo} cannot be {done}: there is not enough memory ({first[:200]}); try a smaller "
            "--size, fewer steps, samples or decoys in --explainer, or --device cpu"
        )
    return f"{photo} cannot be {done} ({type(error).__name__}: {text})"


def write_picture(
    settings: Any,
    page: Page,
    content: bytes,
    *,
    command: str,
    parser: ArgumentParser,
    used: dict[str, Any],
) -> list[Path]:
    """Write a picture and, beside the first, the options as they were used; the files' names."""
    out = page.path(settings.out)
    write_whole(out, content)
    if page.number > 1:
        return [out]
    beside = out.with_suffix(".yaml")
    used = used | {"photos": [_inputs.kept(photo) for photo in page.photos]}
    write_whole(beside, written(parser, settings, command, **used))
    return [out, beside]
