"""Files that are there whole or not at all, and tensors by name in them."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import SurefootError, optional
from surefoot.version import __version__

TENSOR_SUFFIXES = (".npz", ".safetensors")


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` in one step: a reader sees the old file or the new one.

    The bytes go to a file beside it, which then takes its name. What is not a regular file, such
    as a pipe, is written to as it is.

    Raises:
        SurefootError: it cannot be written, as on a full disk; nothing half-written remains.
    """
    place = Path(path).resolve()
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            _replace(place, content)
    except OSError as error:
        raise SurefootError(f"cannot write {path}: {error.strerror or error}") from error


def make_folder(path: str | Path) -> Path:
    """The folder, made with those above it where they are missing.

    Raises:
        SurefootError: it cannot be made, or is a file.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurefootError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return folder


def write_tensors(path: Path, content: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, with text and the version of surefoot, to .npz or .safetensors."""
    check_tensor_suffix(path)
    content = {name: value.detach().cpu().contiguous() for name, value in content.items()}
    encode = _npz if path.suffix == ".npz" else _safetensors
    write_whole(path, encode(content, {**metadata, "surefoot": __version__}))


def check_tensor_suffix(path: Path) -> None:
    """Raise unless attributions can be saved under that name."""
    if path.suffix not in TENSOR_SUFFIXES:
        known = " or ".join(TENSOR_SUFFIXES)
        raise SurefootError(f"cannot save to {path}; its name must end in {known}")


def _replace(place: Path, content: bytes) -> None:
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _npz(content: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    arrays = {name: _array(value) for name, value in content.items()}
    buffer = io.BytesIO()
    np.savez(buffer, metadata=np.array(json.dumps(metadata)), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _array(value: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _safetensors(content: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    # Tensors that share memory, as a map and its "high" may, are refused by the format.
    apart = {name: value.clone() for name, value in content.items()}
    encoded: bytes = optional("safetensors.torch", "cli").save(apart, metadata)
    return encoded
