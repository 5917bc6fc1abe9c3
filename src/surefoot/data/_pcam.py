"""PatchCamelyon: patches of lymph nodes, with or without tumour in their middle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surefoot.data._pictures import Pictures
from surefoot.data._places import Root, data_root, missing
from surefoot.data._splits import check_split
from surefoot.data._torchvision import fetch
from surefoot.errors import SurefootError, optional
from surefoot.files import within

CLASSES = ("normal", "tumour")
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_WAYS = ("pass download=True, where there is a network (extra torchvision; 8 GB)",)


def load_pcam(split: str, root: Root = None, *, download: bool = False) -> Pictures:
    """PCAM's patches of 96 pixels: 262,144 to train, 32,768 to validate, 32,768 to test.

    A patch is positive if its middle 32 x 32 pixels hold at least one of tumour. Read from
    ROOT/pcam, as torchvision lays it out (HDF5, extra `data`).

    Raises:
        SurefootError: the files are not there, or do not hold patches and labels.
    """
    check_split(split, tuple(_SPLITS), "pcam")
    if download:
        fetch("PCAM", root)
    base = data_root(root)
    folders = [base / "pcam", base]
    names = [f"camelyonpatch_level_2_split_{_SPLITS[split]}_{part}.h5" for part in "xy"]
    folder = next((f for f in folders if all((f / name).is_file() for name in names)), None)
    if folder is None:
        raise missing("pcam", root, names, folders, _WAYS)
    patches, labels = (folder / name for name in names)
    found = _labels(labels)
    read = ReadPatch(patches, tuple(found.tolist()))
    return Pictures(read, range(len(found)), CLASSES, name=f"pcam/{split}")


def _labels(path: Path) -> Tensor:
    try:
        found = torch.from_numpy(_array(path, "y").reshape(-1).astype("int64"))
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, SurefootError):
            raise
        raise SurefootError(f"{path} holds no labels in y: {error}; fetch it again") from error
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < len(CLASSES):
        raise SurefootError(f"{path} holds labels other than 0 and 1; fetch it again")
    return found


@dataclass(frozen=True)
class ReadPatch:
    """Reads one patch; the file is opened each time, so that workers may share this."""

    path: Path
    labels: tuple[int, ...]

    def __call__(self, number: int) -> tuple[Tensor, int]:
        """Pixels (3, 96, 96) uint8 and the class."""
        pixels = torch.from_numpy(_array(self.path, "x", number))
        if pixels.dtype != torch.uint8 or pixels.ndim != 3:
            raise SurefootError(
                f"{self.path} holds {pixels.dtype} {tuple(pixels.shape)} in x, expected patches of "
                "bytes (H, W, 3)"
            )
        return pixels.permute(2, 0, 1).contiguous(), self.labels[number]


def _array(path: Path, key: str, index: int | slice = slice(None)) -> Any:
    try:
        with optional("h5py", "data").File(path, "r") as file:
            within(path.stat().st_size, file[key].nbytes, path)
            return file[key][index]
    except (OSError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise SurefootError(f"cannot read {key} in {path}: {error}; fetch it again") from error
