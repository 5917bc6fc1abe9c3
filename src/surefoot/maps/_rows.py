"""What every metric does first: check the maps, flatten them, read `k`."""

import numpy as np
import torch
from torch import Tensor

from surefoot.checks import check_plain
from surefoot.errors import SurefootError

Count = int | float


def check_map(a: Tensor, name: str = "a") -> Tensor:
    """`a` itself, if it is a non-empty batch of finite real maps (N, ...)."""
    if not isinstance(a, Tensor):
        raise SurefootError(
            f"{name} is a {type(a).__name__}, expected a torch.Tensor (N, ...); "
            "convert it with torch.as_tensor"
        )
    check_plain(a, name)
    if a.ndim < 2 or a.numel() == 0 or a.is_complex():
        raise SurefootError(
            f"{name} has shape {tuple(a.shape)} and dtype {a.dtype}, expected a non-empty batch of "
            f"real maps (N, ...); one map becomes a batch with {name}[None]"
        )
    if a.is_floating_point() and not torch.isfinite(a).all():
        bad = int((~torch.isfinite(a)).sum())
        raise SurefootError(f"{name} has {bad} NaN or infinite values, expected finite numbers")
    return a


def check_pair(a: Tensor, b: Tensor, names: tuple[str, str] = ("a", "b")) -> None:
    """Raise unless both are batches of maps of one shape on one device."""
    for value, name in zip((a, b), names, strict=True):
        check_map(value, name)
    if a.shape != b.shape:
        raise SurefootError(
            f"{names[0]} has shape {tuple(a.shape)} and {names[1]} {tuple(b.shape)}; a metric "
            "compares maps of one shape: reduce both alike, e.g. with explain.reduce"
        )
    if a.device != b.device:
        raise SurefootError(
            f"{names[0]} is on {a.device} and {names[1]} on {b.device}; move one with .to()"
        )


def check_grid(a: Tensor, name: str = "a") -> Tensor:
    """`a` itself, if it is a batch of maps over a plane, (N, H, W)."""
    if check_map(a, name).ndim != 3:
        raise SurefootError(
            f"{name} has shape {tuple(a.shape)}, expected (N, H, W); "
            'reduce the channels first: explain.reduce(a, "sum_abs")'
        )
    return a


def check_mass(a: Tensor, name: str = "a") -> Tensor:
    """`a` itself, if nothing in it is negative."""
    if (a < 0).any():
        raise SurefootError(
            f"{name} has {int((a < 0).sum())} negative values, but this metric reads a map as "
            'mass; take absolutes first, e.g. explain.reduce(a, "sum_abs")'
        )
    return a


def rows(a: Tensor) -> Tensor:
    """Each map as one row, (N, n), in its own dtype, but 16-bit floats, integers and bool widened.

    >>> rows(torch.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    return a.flatten(1).to(result_type(a))


def wide(a: Tensor) -> Tensor:
    """Each map as one row, (N, n), in double precision where the device has it."""
    return a.flatten(1).to(torch.float32 if a.device.type == "mps" else torch.float64)


def result_type(*maps: Tensor) -> torch.dtype:
    """The dtype of a score: that of the maps, single precision at least."""
    dtype = torch.float32
    for a in maps:
        dtype = torch.promote_types(dtype, a.dtype)
    return dtype


def count(k: Count, entries: int, name: str = "k") -> int:
    """`k` as a number of entries: itself, or rounded from a share if a float below 1.

    >>> count(3, 10), count(0.25, 10), count(0.001, 10)
    (3, 2, 1)
    """
    k = k.item() if isinstance(k, np.generic) else k
    if isinstance(k, float) and 0 < k < 1:
        return max(1, round(k * entries))
    if not isinstance(k, int) or isinstance(k, bool):
        raise SurefootError(
            f"{name}={k!r}, expected a whole number of entries or a share in (0, 1)"
        )
    if not 1 <= k <= entries:
        raise SurefootError(
            f"{name}={k}, but a map has {entries} entries; give 1 to {entries}, or a share such "
            "as 0.1"
        )
    return k


def norm(values: Tensor) -> Tensor:
    """Euclidean norm over the last dimension."""
    length: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return length


def ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """`top / bottom`, NaN where `bottom` is 0; the gradient of the others stays finite."""
    known = bottom != 0
    safe = torch.where(known, bottom, torch.ones_like(bottom))
    return torch.where(known, top / safe, torch.full_like(bottom, torch.nan))
