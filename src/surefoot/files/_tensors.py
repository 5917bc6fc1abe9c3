"""Tensors by name in a file, with text beside them."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import MissingExtraError, SurefootError, optional
from surefoot.files._whole import write_whole
from surefoot.version import __version__

TENSOR_SUFFIXES = (".npz", ".safetensors")


def write_tensors(path: Path, content: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, with text and the version of surefoot, to .npz or .safetensors."""
    check_tensor_suffix(path)
    content = {name: value.detach().cpu().contiguous() for name, value in content.items()}
    encode = _npz if path.suffix == ".npz" else _safetensors
    write_whole(path, encode(content, {**metadata, "surefoot": __version__}))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write_tensors` wrote: tensors by name, and the text beside them. Runs no code.

    Raises:
        SurefootError: another suffix, no such file, or one that is damaged or of another sort.
    """
    check_tensor_suffix(Path(path))
    decode = _from_npz if Path(path).suffix == ".npz" else _from_safetensors
    try:
        return decode(Path(path))
    except MissingExtraError:
        raise
    except OSError as error:
        raise SurefootError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # the formats' readers raise what they like
        raise SurefootError(
            f"cannot read {path}: it is no file that surefoot wrote, or it is damaged ({error})"
        ) from error


def check_tensor_suffix(path: Path) -> None:
    """Raise unless attributions can be saved under that name."""
    if path.suffix not in TENSOR_SUFFIXES:
        known = " or ".join(TENSOR_SUFFIXES)
        raise SurefootError(f"cannot save to {path}; its name must end in {known}")


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


def _from_npz(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with np.load(path, allow_pickle=False) as file:
        names = [name for name in file if name != "metadata"]
        return {name: torch.from_numpy(file[name]) for name in names}, json.loads(
            str(file["metadata"])
        )


def _from_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with optional("safetensors", "cli").safe_open(path, "pt") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata())
