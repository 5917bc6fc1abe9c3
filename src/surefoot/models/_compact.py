"""Weights in about a quarter of the space: 8-bit integers, with one scale for each row."""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ":scale"
_LEAST = 2**12  # smaller tensors are kept as they are
_LARGEST = 127


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each large floating-point tensor as int8 with a float32 scale for each of its rows.

    A row r is stored as round(r / s) with s = max |r| / 127, so that no entry moves by more than
    s / 2. Small tensors, vectors and integers are stored as they are. `unpack` goes back.

    >>> stored = pack({"fc.weight": torch.rand(64, 64), "fc.bias": torch.rand(64)})
    >>> {name: str(value.dtype) for name, value in stored.items()}
    {'fc.weight': 'torch.int8', 'fc.weight:scale': 'torch.float32', 'fc.bias': 'torch.float32'}
    """
    packed = {}
    for name, value in state.items():
        if value.is_floating_point() and value.ndim > 1 and value.numel() >= _LEAST:
            packed[name], packed[name + SCALE] = _integers(value)
        else:
            packed[name] = value
    return packed


def unpack(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that `pack` was given, but for rounding; any other as it is."""
    return {
        name: _floats(value, stored[name + SCALE]) if name + SCALE in stored else value
        for name, value in stored.items()
        if not name.endswith(SCALE)
    }


def _integers(value: Tensor) -> tuple[Tensor, Tensor]:
    rows = value.detach().float().flatten(1)
    scale = rows.abs().amax(1) / _LARGEST
    divisor = torch.where(scale > 0, scale, 1.0)
    integers = (rows / divisor[:, None]).round().to(torch.int8)
    return integers.view(value.shape), scale


def _floats(integers: Tensor, scale: Tensor) -> Tensor:
    return integers.float() * scale.view(-1, *[1] * (integers.ndim - 1))
