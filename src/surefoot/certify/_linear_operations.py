"""PyTorch's operations that are affine in what is bounded, as `Affine` steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from surefoot.certify._bounds import Bound, Symbols
from surefoot.certify._interval import Rounding
from surefoot.certify._steps import Affine, Linear, Pulled

aten = torch.ops.aten
Builder = Callable[..., Affine | None]


def _matrix(
    x: Any, weight: Any, offset: Tensor | None = None, *, alpha: float = 1
) -> Affine | None:
    """X W + offset, with W known."""
    if not isinstance(x, Bound) or isinstance(weight, Bound):
        return None
    scaled = weight * alpha
    terms, fan_out = weight.shape
    part = Linear(x, lambda v: v @ scaled, lambda v: v @ scaled.abs(), terms, fan_out)
    return Affine([part], offset)


def _addmm(offset: Any, x: Any, weight: Any, *, beta: float = 1, alpha: float = 1) -> Affine | None:
    if isinstance(offset, Bound):
        return None
    return _matrix(x, weight, beta * offset, alpha=alpha)


def _convolution(x: Any, weight: Any, bias: Any, *rest: Any) -> Affine | None:
    if not isinstance(x, Bound) or isinstance(weight, Bound) or isinstance(bias, Bound):
        return None
    transposed = rest[3]
    apply = lambda w, v: aten.convolution.default(v, w, None, *rest)  # noqa: E731
    one = weight[0].numel()
    other = weight.numel() // weight.shape[1]
    terms, fan_out = (other, one) if transposed else (one, other)
    part = Linear(x, partial(apply, weight), partial(apply, weight.abs()), terms, fan_out)
    offset = None if bias is None else bias.view(-1, *[1] * (len(x.shape) - 2))
    return Affine([part], offset)


def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: Any, _momentum: Any, eps: float
) -> Affine | None:
    if not isinstance(x, Bound) or training:
        return None
    scale = (var + eps).rsqrt() * (1.0 if weight is None else weight)
    shape = (-1, *[1] * (len(x.shape) - 2))
    offset = (0.0 if bias is None else bias) - mean * scale
    # Computed in several ways and orders: sizes are those of the centred form.
    spread = (mean * scale).abs() + (0.0 if bias is None else bias.abs())
    step = _scaled(x, scale.view(shape), terms=8)
    return Affine(step.parts, offset.view(shape), spread.view(shape))


def _scaled(x: Bound, factor: Tensor | float, terms: int = 2) -> Affine:
    """Entry by entry times a known factor."""
    known = torch.as_tensor(factor, dtype=torch.float64, device=x.device)
    shape = torch.broadcast_shapes(x.shape, known.shape)  # type: ignore[no-untyped-call]
    repeated = shape.numel() // max(1, x.shape.numel())
    part = Linear(x, lambda v: v * known, lambda v: v * known.abs(), terms, max(terms, repeated))
    return Affine([part])


def _add(x: Any, y: Any, *, alpha: float = 1) -> Affine:
    """X + alpha y, one or both bounded."""
    shapes = [getattr(term, "shape", ()) for term in (x, y)]
    shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    parts: list[Linear] = []
    offset: Tensor | None = None
    for term, factor in ((x, 1.0), (y, alpha)):
        if isinstance(term, Bound):
            times = factor if term.shape == shape else torch.full(shape, factor, device=term.device)
            parts += _scaled(term, times).parts
        else:
            offset = (torch.as_tensor(term, dtype=torch.float64) * factor).expand(shape)
    return Affine(parts, offset)


def _sub(x: Any, y: Any, *, alpha: float = 1) -> Affine:
    return _add(x, y, alpha=-alpha)


def _div(x: Any, y: Any) -> Affine | None:
    return None if isinstance(y, Bound) else _scaled(x, 1.0 / torch.as_tensor(y), terms=4)


def _mul(x: Any, y: Any) -> Affine | None:
    if isinstance(x, Bound) and isinstance(y, Bound):
        return None
    return _scaled(x, y) if isinstance(x, Bound) else _scaled(y, x)


def _cat(tensors: list[Any], dim: int = 0) -> Affine:
    known = [torch.zeros_like(t.interval.low) if isinstance(t, Bound) else t for t in tensors]
    nothing = [torch.zeros_like(t) for t in known]

    def alone(place: int, v: Tensor) -> Tensor:
        return torch.cat([*nothing[:place], v, *nothing[place + 1 :]], dim)

    parts = [
        Linear(t, partial(alone, i), partial(alone, i))
        for i, t in enumerate(tensors)
        if isinstance(t, Bound)
    ]
    return Affine(parts, torch.cat(known, dim))


def _averaging(operation: Callable[..., Tensor], x: Any, *args: Any, **kwargs: Any) -> Affine:
    """Sums and means with known weights, none negative: |A| = A."""
    apply = lambda v: operation(v, *args, **kwargs)  # noqa: E731
    taken, given = x.shape.numel(), operation(x.interval.low, *args, **kwargs).numel()
    kernel = args[0] if "avg_pool" in str(operation) and args else [1]
    window = int(torch.tensor(kernel).prod())
    # Windows of adaptive pooling overlap by at most one entry a side.
    terms, fan_out = (
        max(window, 4 * max(1, a // max(1, b))) for a, b in ((taken, given), (given, taken))
    )
    return Affine([Linear(x, apply, apply, terms, fan_out)])


def _moving(operation: Callable[..., Tensor], x: Any, *args: Any, **kwargs: Any) -> Affine:
    """Entries put elsewhere, or left out: nothing is computed."""
    apply = lambda v: operation(v, *args, **kwargs)  # noqa: E731
    return Affine([Linear(x, apply, apply)])


def _same(x: Any, *_args: Any, **_kwargs: Any) -> Affine:
    return Affine([Linear(x, lambda v: v, lambda v: v)])


_MOVING = (
    "view",
    "_unsafe_view",
    "reshape",
    "permute",
    "transpose",
    "t",
    "squeeze",
    "unsqueeze",
    "slice",
    "select",
    "expand",
    "flatten",
    "constant_pad_nd",
    "reflection_pad2d",
    "replication_pad2d",
    "clone",
    "alias",
    "flip",
)
_AVERAGING = ("mean", "sum", "avg_pool2d", "_adaptive_avg_pool2d", "upsample_nearest2d")
_IDENTITIES = ("lift_fresh_copy", "_to_copy")


@dataclass(frozen=True)
class _Detached(Affine):
    """The same numbers, without a gradient."""

    def pull(self, g: Bound, symbols: Symbols, rounding: Rounding) -> Pulled:  # noqa: ARG002
        return []


BUILDERS: Mapping[str, Builder] = {
    "mm": _matrix,
    "addmm": _addmm,
    "convolution": _convolution,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": lambda x, w, b, mean, var, momentum, eps: _batch_norm(
        x, w, b, mean, var, False, momentum, eps
    ),
    "cudnn_batch_norm": _batch_norm,
    "add": _add,
    "sub": _sub,
    "rsub": lambda x, y, *, alpha=1: _sub(y, x, alpha=alpha),
    "mul": _mul,
    "div": _div,
    "neg": lambda x: _scaled(x, -1.0),
    "detach": lambda x: _Detached(_same(x).parts),
    "cat": _cat,
    **{name: partial(_moving, getattr(aten, name)) for name in _MOVING},
    **{name: partial(_averaging, getattr(aten, name)) for name in _AVERAGING},
    **dict.fromkeys(_IDENTITIES, _same),
}
