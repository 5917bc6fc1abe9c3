"""Tensors by name in a file, with text beside them."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from surefoot.errors import SurefootError, optional
from surefoot.files._whole import write_whole
from surefoot.version import __version__

TENSOR_SUFFIXES = (".npz", ".safetensors")


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
