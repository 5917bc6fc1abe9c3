"""One setting as text and as a value: literals, digests of tensors, import paths of code."""

import hashlib
from collections.abc import Hashable, Mapping

import numpy as np
import torch
from torch import Tensor, nn


def show(value: object) -> str:  # noqa: PLR0911 (one return a kind)
    """One setting as text: a literal, a digest, or an import path in angle brackets."""
    value = plain(value)
    if isinstance(value, Tensor):
        return f"tensor('sha256:{digest(value)[7:19]}', shape={tuple(value.shape)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' * (len(value) == 1)})"
    if isinstance(value, nn.Module):
        return f"<{type(value).__module__}:{type(value).__qualname__}>"
    if callable(value) and not hasattr(value, "settings"):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"<{getattr(value, '__module__', None)}:{name}>"
    return repr(value)


def plain(value: object) -> object:
    """NumPy numbers as Python numbers; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def freeze(value: object) -> Hashable:
    """A hashable stand-in for a setting: equal settings, tensors included, freeze equal."""
    value = plain(value)
    if isinstance(value, Tensor):
        return ("tensor", digest(value))
    if isinstance(value, Mapping):
        return ("mapping", frozenset((freeze(k), freeze(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(freeze, value))
    if isinstance(value, Hashable):
        try:
            hash(value)
        except TypeError:
            return ("object", id(value))
        return value
    return ("object", id(value))


def digest(tensor: Tensor) -> str:
    """`sha256:...` of a tensor's dtype, shape and bytes; the device does not matter.

    >>> digest(torch.zeros(2))[:15]
    'sha256:4016bdf5'
    """
    flat = torch.empty(0)  # a meta tensor has no bytes
    if not tensor.is_meta:
        plain = tensor if tensor.layout == torch.strided else tensor.to_dense()
        flat = plain.detach().cpu().contiguous().reshape(-1)
    head = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} "
    return f"sha256:{hashlib.sha256(head.encode() + _bytes(flat)).hexdigest()}"


def _bytes(flat: Tensor) -> bytes:
    return flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""
