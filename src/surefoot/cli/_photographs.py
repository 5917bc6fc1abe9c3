"""What commands on photographs share: their options, their checks, and what they work on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from surefoot import models, report
from surefoot.cli import _inputs, _outputs
from surefoot.cli._options import (
    DEFAULT_CHANNELS,
    DEFAULT_SIZE,
    add,
    add_config,
    make_parser,
)
from surefoot.cli._shared import add_model_options, find_class, load_model, try_model
from surefoot.data import Fit, dimensions, load_pixels, locate
from surefoot.errors import SurefootError
from surefoot.files import check_tensor_suffix


class Images:
    """Photographs as the model takes them, read when they are asked for; the last one is kept."""

    def __init__(
        self, photos: Sequence[str], card: models.Card, fit: Fit, device: torch.device
    ) -> None:
        self.photos, self.card, self.fit, self.device = photos, card, fit, device
        self._last: tuple[int, Tensor] | None = None

    def __getitem__(self, number: int) -> Tensor:
        """One of them, (1, C, S, S), on the model's device."""
        if self._last is None or self._last[0] != number:
            self._last = None  # two large ones are never held at once
            photo = self.photos[number]
            self._last = (number, _image(photo, self.card, self.fit).to(self.device))
        return self._last[1]


@dataclass(frozen=True)
class Case:
    """A model and the photographs it is to be run on.

    Attributes:
        model: on its device.
        card: its size, channels and labels.
        photos: the photographs as they were given.
        images: each (1, C, S, S) with the model's channels, on the model's device, by number.
        target: the class asked for, None for the predicted one.
        fit: how they became squares; with "tile" the images are as large as the photographs.
        seen: what part of each the model sees, "" for all of it.
    """

    model: nn.Module
    card: models.Card
    photos: list[str]
    images: Images
    target: int | None
    fit: Fit = "crop"
    seen: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The side of the model's input."""
        return self.card.size or DEFAULT_SIZE

    def load(self, photo: str) -> Tensor:
        """A further photograph, (1, C, S, S), on the model's device."""
        return _image(photo, self.card).to(self.images.device)

    def take(self, rows: Sequence[int]) -> "Case":
        """The same with some of the photographs alone."""
        photos = [self.photos[row] for row in rows]
        images = Images(photos, self.card, self.fit, self.images.device)
        return replace(self, photos=photos, images=images, seen=[self.seen[row] for row in rows])

    @property
    def names(self) -> list[str]:
        """The photographs' file names."""
        return [Path(photo).name for photo in self.photos]

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
    add(options, "photos fit quiet json")
    add_config(options)
    add_model_options(options)
    return options


def check_files(settings: Any, photos: Sequence[str], save: str | None, *more: str | None) -> None:
    """Raise for what can be told of the output before any work.

    Args:
        settings: the options.
        photos: whose maps are drawn, `rows` of them in a picture.
        save: a file of tensors that is to be written, too.
        more: pictures that are.
    """
    pictures = [settings.out, *filter(None, more)]
    for path in pictures:
        report.check_suffix(Path(path))
    if save:
        check_tensor_suffix(Path(save))
    if settings.rows < 1:
        raise SurefootError(f"--rows={settings.rows}, expected at least 1")
    files = [*pictures, *([save] if save else [])]
    pages = range(1, -(-len(photos) // settings.rows) + 1)
    each = [_outputs.numbered(path, number) for number in pages for path in files]
    _outputs.check([*each, Path(settings.out).with_suffix(".yaml")], force=settings.force)
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
    # Before the model is loaded, which may take long.
    sizes = [dimensions(locate(photo)) for photo in photos]
    model, card = load_model(settings)
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = Images(photos, card, settings.fit, where)
    target = None if settings.target is None else find_class(settings.target, card.labels)
    size = card.size or DEFAULT_SIZE
    try_model(model, images[0][..., :size, :size])
    seen = _inputs.check(photos, sizes, size, settings.fit)
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
    return load_pixels(locate(photo), size, channels, fit)[None].float().div_(255)
