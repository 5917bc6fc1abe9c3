"""An explanation as a file."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import surefoot
from surefoot.errors import SurefootError, optional
from surefoot.explain._explanation import Explanation
from surefoot.explain._json import tensors, to_json
from surefoot.files import write_whole

SUFFIXES = (".npz", ".safetensors")


def save(explanation: Explanation, path: Path) -> None:
    """Write it to `path`, see `Explanation.save`."""
    content = {
        "attributions": explanation.attributions,
        "target": explanation.target,
        "probabilities": explanation.probabilities,
        **{f"details.{name}": value for name, value in explanation.details.items()},
        **tensors(explanation.explainer),
    }
    write_tensors(path, content, {"explainer": to_json(explanation.explainer)})


def write_tensors(path: Path, content: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, with text and the version of surefoot, to .npz or .safetensors."""
    check_suffix(path)
    content = {name: value.detach().cpu().contiguous() for name, value in content.items()}
    encode = _npz if path.suffix == ".npz" else _safetensors
    write_whole(path, encode(content, {**metadata, "surefoot": surefoot.__version__}))


def check_suffix(path: Path) -> None:
    """Raise unless attributions can be saved under that name."""
    if path.suffix not in SUFFIXES:
        raise SurefootError(f"cannot save to {path}; its name must end in {' or '.join(SUFFIXES)}")


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
