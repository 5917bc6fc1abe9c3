"""Weights from files that hold tensors and nothing else."""

import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.errors import SurefootError, SurefootWarning, optional
from surefoot.files import DamagedError, check_archive, check_entries, parse_json
from surefoot.models._classifier import Classifier, inside
from surefoot.models._compact import unpack

_NORMALISATION = "surefoot_normalisation"
_DIGEST = "digest"
_TOLD = float | list[float] | None
_NESTED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")


def load_weights(module: nn.Module, path: str | Path) -> nn.Module:
    """`module` itself, with the weights of a safetensors file or a weights-only checkpoint.

    A checkpoint is a state dict, or holds one under "state_dict", "model_state_dict" or "model".
    A prefix that wrappers such as DataParallel put before every key is taken off; a `Classifier`
    takes the weights of the network in it. Where the file tells what the network was trained
    behind, and the module has another normalisation, a warning says so.

    Raises:
        SurefootError: no such file, a damaged one, one that holds more than tensors (refused
            because loading it runs code of its author), or keys or shapes that do not fit.

    >>> from tempfile import TemporaryDirectory
    >>> mine, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> with TemporaryDirectory() as folder:
    ...     torch.save(other.state_dict(), f"{folder}/mine.pt")
    ...     _ = load_weights(mine, f"{folder}/mine.pt")
    >>> bool((mine.weight == other.weight).all())
    True
    """
    put_weights(module, path)
    check_normalisation(module, path)
    return module


def put_weights(module: nn.Module, path: str | Path) -> None:
    """Like `load_weights`, whatever the normalisation."""
    inner = module.module if isinstance(module, Classifier) else module
    state = _fitted(_read(Path(path)), inner)
    _check_shapes(state, inner, path)
    missing, unexpected = inner.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise SurefootError(
            f"the weights in {path} do not fit {type(inner).__name__}: "
            + "; ".join(_misfits(missing, unexpected))
        )


def save_weights(module: nn.Module) -> bytes:
    """The state dict in the safetensors format, with what `normalisation` reads and a digest."""
    state, known = copied(module), inside(module)
    # One entry: with several their order, and so the bytes, would differ from run to run.
    told = {_NORMALISATION: json.dumps({**known, _DIGEST: _digest(state, known)})}
    content: bytes = optional("safetensors.torch", "cli").save(state, told)
    return content


def _digest(state: Mapping[str, Tensor], known: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a file of weights says."""
    found = hashlib.sha256(json.dumps([known["mean"], known["std"]]).encode())
    for name, value in sorted(state.items()):
        found.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        found.update(value.flatten().view(torch.uint8).numpy().data)
    return f"sha256:{found.hexdigest()}"


def copied(module: nn.Module) -> dict[str, Tensor]:
    """A state dict that can be written: on the CPU, contiguous, nothing sharing memory."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def normalisation(path: str | Path) -> dict[str, Any] | None:
    """What the network in a safetensors file was trained behind, mean and std; None: not told."""
    if Path(path).suffix != ".safetensors":
        return None
    try:
        with optional("safetensors", "cli").safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get(_NORMALISATION)
    except Exception as error:  # the package's own exception has no public name
        raise SurefootError(f"cannot read {path}: {_line(error)}") from error
    if told is None:
        return None
    where = f"{path}: {_NORMALISATION}"
    found = parse_json(told, where)
    if not isinstance(found, dict):
        raise SurefootError(f"{where} is {found!r}, expected mean and std")
    check_entries(found, {"mean": _TOLD, "std": _TOLD, f"{_DIGEST}?": str}, where)
    return found


def check_normalisation(module: nn.Module, path: str | Path) -> None:
    """Warn where the module has another normalisation than the file tells."""
    told, own = normalisation(path), inside(module)
    if told is not None and _numbers(told) != _numbers(own):
        warnings.warn(
            f"the weights in {path} were trained behind mean={told['mean']}, std={told['std']}, "
            f"and {type(module).__name__} has mean={own['mean']}, std={own['std']}: what it "
            "predicts may be wrong; give the same mean and std",
            SurefootWarning,
            stacklevel=3,
        )


def _numbers(told: Mapping[str, Any]) -> list[list[float] | None]:
    values = (told[name] for name in ("mean", "std"))
    return [None if v is None else torch.tensor(v).flatten().tolist() for v in values]


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SurefootError(f"there is no weights file {path}")
    content = _safetensors(path) if path.suffix == ".safetensors" else _checkpoint(path)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise SurefootError(
            f"{path} holds a {type(content).__name__}, expected a state dict of tensors; save it "
            "with torch.save(model.state_dict(), ...)"
        )
    strange = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise SurefootError(f"{path} holds {strange[:3]} beside tensors, expected a state dict")
    for key, value in content.items():
        # A view of one number may say that it is a trillion.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise SurefootError(
                f"{path}: {key} has shape {tuple(value.shape)} and not as many numbers; save "
                "whole tensors, not expanded ones"
            )
    try:
        return unpack(content)
    except (RuntimeError, TypeError) as error:
        raise SurefootError(f"{path} holds packed weights that do not fit: {error}") from error


def _safetensors(path: Path) -> Any:
    package = optional("safetensors.torch", "cli")
    try:
        state = package.load_file(path)
    except Exception as error:  # the package's own exception has no public name
        raise SurefootError(f"cannot read {path}: {_line(error)}") from error
    told = normalisation(path) or {}
    if _DIGEST in told and told[_DIGEST] != _digest(state, told):
        raise DamagedError(
            f"{path} is damaged: it does not hold the weights that were written (its digest "
            "differs); copy it anew, or take another checkpoint"
        )
    return state


def _checkpoint(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SurefootError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        code = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and code:
            raise SurefootError(
                f"{path} is a pickle that holds {code[1]}: loading it would run code of whoever "
                "made it, so it is refused. Save the tensors alone, with "
                "torch.save(model.state_dict(), ...) or as safetensors"
            ) from error
        raise SurefootError(
            f"{path} is not a PyTorch checkpoint, or is damaged ({_line(error)})"
        ) from error


def _fitted(state: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    known = set(module.state_dict())
    for prefix in _PREFIXES:
        bare = {key.removeprefix(prefix): value for key, value in state.items()}
        if all(key.startswith(prefix) for key in state) and len(known & set(bare)) > len(
            known & set(state)
        ):
            return bare
    return state


def _check_shapes(state: Mapping[str, Tensor], module: nn.Module, path: str | Path) -> None:
    for key, value in module.state_dict().items():
        if key in state and state[key].shape != value.shape:
            raise SurefootError(
                f"{key} has shape {tuple(state[key].shape)} in {path} and {tuple(value.shape)} in "
                f"{type(module).__name__}; is it another variant, or another number of classes?"
            )


def _misfits(missing: list[str], unexpected: list[str]) -> list[str]:
    lines = []
    for key in missing[:3]:
        close = get_close_matches(key, unexpected, n=1)
        lines.append(f"{key} is missing" + "".join(f" (the file has {name})" for name in close))
    lines += [f"{len(missing) - 3} more are missing"] * (len(missing) > 3)
    lines += [f"{key} is not in the model" for key in unexpected[:3]]
    lines += [f"{len(unexpected) - 3} more are not in the model"] * (len(unexpected) > 3)
    return lines


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
