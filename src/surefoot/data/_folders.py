"""Pictures in folders, one folder a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from surefoot.data._labels import imagenet_labels
from surefoot.data._photographs import load_pixels, shorter_side
from surefoot.data._pictures import Pictures
from surefoot.data._places import Root, data_root, missing, within
from surefoot.data._splits import check_split, hold_out
from surefoot.errors import MissingExtraError, SurefootError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
IMAGENET_SIZE = 224
IMAGENET_CLASSES = 1000


def load_folder(
    path: str,
    split: str,
    root: Root = None,
    *,
    size: int | None = None,
    channels: int = 3,
    held_out: float | None = None,
) -> Pictures:
    """The pictures of PATH/SPLIT/CLASS/..., classes in alphabetical order.

    The classes are those of the training folder, for every split, so that a label means the same
    in all of them; without a training folder, the split's own. Hidden folders and files are
    passed over.

    Args:
        path: a folder, or one in the data root.
        split: "train", "validation" or "test"; the test is the validation folder (val, valid)
            where there is no other. "all" takes PATH/CLASS/... as it is.
        root: the data root.
        size: side of the square that pictures are brought to, shorter side first; None takes the
            shorter side of the first picture.
        channels: 3 or 1, for grey.
        held_out: for PATH/CLASS/... without splits: how many pictures of each class are for the
            test, a share if below 1; the draw is always the same.

    Raises:
        SurefootError: no such folder, no pictures in it, or a class that the training lacks.
    """
    folder = within(path, root)
    if not folder.is_dir():
        raise SurefootError(f"there is no folder {path}, neither here nor in {data_root(root)}")
    training = None
    if held_out is None and split != "all":
        training = next((folder / n for n in _SPELLINGS["train"] if (folder / n).is_dir()), None)
        folder = _split_folder(folder, split)
    read, classes = _listed(folder, training, size, channels)
    numbers: Sequence[int] = range(len(read.paths))
    if held_out is not None:
        numbers = hold_out(torch.tensor(read.labels), held_out, split).tolist()
    return Pictures(read, numbers, classes, name=f"{path}/{split}")


def load_imagenet(split: str, root: Root = None, *, size: int = IMAGENET_SIZE) -> Pictures:
    """ImageNet's photographs from ROOT/imagenet/train and ROOT/imagenet/val, one folder a class.

    The validation photographs are the test, for the test's labels are not public. With all 1000
    folders, classes have their English names where the package for those is installed (extra
    `demo`), else the folders' names such as n01440764.

    Raises:
        SurefootError: the folders are not there.
    """
    check_split(split, ("train", "test"), "imagenet")
    base = data_root(root)
    folders = [base / "imagenet", base / "ImageNet", base]
    wanted = {"train": "train", "test": "val"}[split]
    folder = next((f for f in folders if (f / wanted).is_dir()), None)
    if folder is None:
        way = (
            "ask its makers for it, at image-net.org, and put each class's photographs in a folder"
        )
        raise missing("imagenet", root, [f"{wanted}/"], folders, [way])
    training = folder / "train"
    read, classes = _listed(folder / wanted, training if training.is_dir() else None, size, 3)
    return Pictures(read, range(len(read.paths)), _english(classes), name=f"imagenet/{split}")


@dataclass(frozen=True)
class ReadFile:
    """Reads one of many picture files."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    size: int
    channels: int = 3

    def __call__(self, number: int) -> tuple[Tensor, int]:
        """Pixels (channels, size, size) uint8 and the class."""
        return load_pixels(self.paths[number], self.size, self.channels), self.labels[number]


def _listed(
    folder: Path, training: Path | None, size: int | None, channels: int
) -> tuple[ReadFile, tuple[str, ...]]:
    """The pictures of a folder, with the classes of the training folder, and these classes."""
    own = _kinds(folder)
    classes = own if training is None else _kinds(training)
    strange = [kind for kind in own if kind not in classes]
    if strange:
        raise SurefootError(
            f"{folder} has folders of classes that {training} has not: {strange[:5]}; expected "
            "each class to be in the training, under the same name"
        )
    files = [
        (path, label)
        for label, kind in enumerate(classes)
        for path in sorted((folder / kind).rglob("*"))
        if path.suffix.lower() in SUFFIXES and not _hidden(path, folder)
    ]
    if not files:
        raise SurefootError(
            f"{folder} holds no pictures in folders, one folder a class; found {own[:5]}"
        )
    paths, labels = zip(*files, strict=True)
    return ReadFile(paths, labels, size or shorter_side(paths[0]), channels), tuple(classes)


def _kinds(folder: Path) -> list[str]:
    return sorted(
        place.name for place in folder.iterdir() if place.is_dir() and place.name[0] != "."
    )


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _split_folder(folder: Path, split: str) -> Path:
    check_split(split, tuple(_SPELLINGS), str(folder))
    found = next((folder / n for n in _SPELLINGS[split] if (folder / n).is_dir()), None)
    if found is None:
        held = sorted(place.name for place in folder.iterdir())[:5]
        raise SurefootError(
            f"{folder} has no folder {' or '.join(_SPELLINGS[split])}, it holds {held}; if those "
            'are classes, pass held_out=0.2 for a share to test on, or split="all"'
        )
    return found


def _english(folders: tuple[str, ...]) -> tuple[str, ...]:
    if len(folders) != IMAGENET_CLASSES:
        return folders
    try:
        return tuple(imagenet_labels())
    except MissingExtraError:
        return folders
