"""What commands on photographs share: their options, checks, the loop, and the written config."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from tqdm import tqdm

from surefoot import models, report
from surefoot.cli import _inputs, _outputs, _passes
from surefoot.cli._options import (
    DEFAULT_CHANNELS,
    DEFAULT_SIZE,
    add,
    add_config,
    make_parser,
    written,
)
from surefoot.cli._shared import add_model_options, find_class, load_model, try_model
from surefoot.data import Fit, dimensions, load_pixels, locate
from surefoot.errors import SurefootError
from surefoot.files import check_tensor_suffix, write_whole

T = TypeVar("T")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Case:
    """A model and the photographs it is to be run on.

    Attributes:
        model: on its device.
        card: its size, channels and labels.
        photos: the photographs as they were given.
        images: each (1, C, S, S) with the model's channels, on the model's device.
        target: the class asked for, None for the predicted one.
        fit: how they became squares; with "tile" the images are as large as the photographs.
        seen: what part of each the model sees, "" for all of it.
    """

    model: nn.Module
    card: models.Card
    photos: list[str]
    images: list[Tensor]
    target: int | None
    fit: Fit = "crop"
    seen: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The side of the model's input."""
        return self.card.size or DEFAULT_SIZE

    def load(self, photo: str) -> Tensor:
        """A further photograph, (1, C, S, S), on the model's device."""
        return _image(photo, self.card).to(self.images[0].device)

    def names(self, finished: int) -> list[str]:
        """File names of the first photographs."""
        return [Path(photo).name for photo in self.photos[:finished]]

    def label(self, target: int) -> str:
        """The name of a class."""
        known = self.card.labels is not None and target < len(self.card.labels)
        return self.card.labels[target] if known and self.card.labels else f"class {target}"


def photographs_parser(description: str) -> ArgumentParser:
    """A command's parser with the options that say which photographs and which model."""
    options = make_parser(description)
    options.add_argument(
        "photo",
        nargs="*",
        type=str,
        metavar="PHOTO",
        help="picture files, folders of them, patterns, - for a list on standard input, or the "
        "names of those that installed packages bring: chelsea, coffee, eagle",
    )
    add(options, "photos fit quiet json force")
    add_config(options)
    add_model_options(options)
    return options


def check_files(settings: Any, save: str | None, *more: str | None) -> None:
    """Raise for what can be told of the output before any work.

    Args:
        settings: the options.
        save: a file of tensors that is to be written, too.
        more: pictures that are.
    """
    pictures = [settings.out, *filter(None, more)]
    for path in pictures:
        report.check_suffix(Path(path))
    if save:
        check_tensor_suffix(Path(save))
    beside = Path(settings.out).with_suffix(".yaml")
    _outputs.check([*pictures, *([save] if save else []), beside], force=settings.force)
    try:
        report.Look.of(**look(settings)).check()
    except SurefootError as error:
        raise SurefootError(f"--{error}") from None


def look(settings: Any) -> dict[str, Any]:
    """How the picture is drawn, by the names that `surefoot.report` has for it."""
    names = ("percentile", "colours", "opacity", "scale", "smooth", "top")
    found = {name: settings[name] for name in names if name in settings}
    if settings.get("panels") is not None:
        found["panels"] = tuple(name.strip() for name in settings.panels.split(","))
    return {**found, "size": settings.picture}


def given(settings: Any, command: str) -> list[str]:
    """The photographs; raises if there are none."""
    photos = _inputs.expand(settings.photo or settings.photos or [])
    if not photos:
        raise SurefootError(
            f"no photograph was given; try: surefoot {command} chelsea -o {settings.out}"
        )
    return photos


def load(settings: Any, photos: list[str], *, tiles: bool = False) -> Case:
    """Model, photographs and target, after a trial run of the model.

    Args:
        settings: the options.
        photos: as `given` has them.
        tiles: whether the command takes photographs larger than the model's input.

    Raises:
        SurefootError: any of them cannot be used.
    """
    if settings.fit == "tile" and not tiles:
        raise SurefootError("--fit tile is for surefoot explain; take crop, pad or squash here")
    for photo in photos:
        dimensions(locate(photo))  # before the model is loaded, which may take long
    model, card = load_model(settings)
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = [_image(photo, card, settings.fit).to(where) for photo in photos]
    target = None if settings.target is None else find_class(settings.target, card.labels)
    size = card.size or DEFAULT_SIZE
    try_model(model, images[0][..., :size, :size])
    seen = _inputs.check(photos, size, settings.fit)
    return Case(model, card, photos, images, target, settings.fit, seen)


def _image(photo: str, card: models.Card, fit: Fit = "crop") -> Tensor:
    """A photograph as the model takes it: (1, 3, S, S), or in grey (1, 1, S, S)."""
    size, channels = card.size or DEFAULT_SIZE, card.channels or DEFAULT_CHANNELS
    if size < 1:
        raise SurefootError(f"--size={size}, expected at least 1 pixel")
    if channels not in (1, 3):
        raise SurefootError(
            f"{card.name} is to take inputs of {channels} channels, expected 3, or 1 for grey; "
            "photographs have no others"
        )
    return load_pixels(locate(photo), size, channels, fit)[None].float() / 255


def each_photograph(
    case: Case,
    work: Callable[[Tensor, Progress], T],
    write: Callable[[list[T]], None],
    *,
    verbs: tuple[str, str],
    units: int = 1,
    unit: str = "photograph",
    passes: bool = False,
) -> None:
    """Work on each photograph by itself under a progress bar, then write what is finished.

    It is written also when a later photograph fails or the run is interrupted.

    Args:
        case: the photographs.
        work: makes one photograph's result; may call what it gets with the units done and their
            number.
        write: writes the results there are, at least one.
        verbs: such as ("explaining", "explained").
        units: of work in one photograph.
        unit: their name.
        passes: whether units are inputs through the model, counted, and so many about.

    Raises:
        SurefootError: the model fails, or there is not enough memory.
    """
    doing, done = verbs
    finished: list[T] = []
    try:
        with tqdm(total=len(case.images) * units, desc=doing, unit=unit, disable=None) as bar:

            def progress(now: int, _total: int) -> None:
                bar.update(len(finished) * units + now - bar.n)

            for image in case.images:
                with _passes.counted(case.model, bar) if passes else nullcontext():
                    finished.append(work(image, progress))
                progress(0, units)
    except (RuntimeError, MemoryError) as error:  # from the model, or no memory
        raise SurefootError(_failure(case.photos[len(finished)], done, error)) from error
    finally:
        if finished:
            write(finished)


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
    case: Case,
    finished: int,
    content: bytes,
    *,
    command: str,
    parser: ArgumentParser,
    used: dict[str, Any],
) -> list[Path]:
    """Write the picture and, beside it, the options as they were used; the files' names."""
    out = Path(settings.out)
    write_whole(out, content)
    used = used | {"photos": [_inputs.kept(photo) for photo in case.photos]}
    write_whole(out.with_suffix(".yaml"), written(parser, settings, command, **used))
    if finished < len(case.photos):
        print(
            f"surefoot: {out} holds the {finished} photographs finished of {len(case.photos)}",
            file=sys.stderr,
        )
    return [out, out.with_suffix(".yaml")]
