"""Smooth surrogates: a model with softplus where it has kinks, so that it has curvature.

A network of ReLUs is piecewise linear, so the derivative of its gradient is zero almost
everywhere and tells an attack nothing. Ghorbani et al. (arXiv 1710.10547) and RAR (1905.09957)
attack a copy with softplus in place of ReLU; Dombrowski et al. (1906.07983) let its beta grow.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from surefoot import checks, gradients, programs
from surefoot.errors import SurefootError
from surefoot.gradients import arranged

DEFAULT = 30.0

Softplus = Callable[[Tensor], Tensor]


class Rule(NamedTuple):
    """What takes the place of one activation.

    Attributes:
        name: what it is counted under.
        smooth: `smooth(softplus, x, *settings)`, with the activation's own settings.
        settings: their names, in order; None where there are none before `inplace`.
        inplace: position of the `inplace` argument, or -1.
    """

    name: str
    smooth: Callable[..., Tensor | None]
    settings: tuple[str, ...] = ()

    def replace(
        self, softplus: Softplus, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor | None:
        """The smooth activation of the call's input, or None where the call is no activation."""
        given = dict(zip(("input", *self.settings, "inplace"), args, strict=False)) | dict(kwargs)
        inplace = given.pop("inplace", False) or name.removesuffix(".default").endswith("_")
        x = given.pop("input", None) if "input" in given else given.pop("self")
        result = self.smooth(softplus, x.clone() if inplace else x, **given)
        return x.copy_(result) if inplace and result is not None else result


def _relu(softplus: Softplus, x: Tensor) -> Tensor:
    return softplus(x)


def _leaky(softplus: Softplus, x: Tensor, negative_slope: float = 0.01) -> Tensor:
    return negative_slope * x + (1 - negative_slope) * softplus(x)


def _prelu(softplus: Softplus, x: Tensor, weight: Tensor) -> Tensor:
    slope = weight.view(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight
    return slope * x + (1 - slope) * softplus(x)


def _hardtanh(softplus: Softplus, x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return min_val + softplus(x - min_val) - softplus(x - max_val)


def _relu6(softplus: Softplus, x: Tensor) -> Tensor:
    return _hardtanh(softplus, x, 0.0, 6.0)


def _hardsigmoid(softplus: Softplus, x: Tensor) -> Tensor:
    return _relu6(softplus, x + 3) / 6


def _hardswish(softplus: Softplus, x: Tensor) -> Tensor:
    return x * _hardsigmoid(softplus, x)


def _clamp(
    softplus: Softplus,
    x: Tensor,
    min: Any = None,  # noqa: A002 (torch's name)
    max: Any = None,  # noqa: A002
) -> Tensor | None:
    # Only a clamp that is a ReLU: min=1e-6 guards a division, min=-1 may scale pixels.
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0:
        return None
    return softplus(x) if max is None else _hardtanh(softplus, x, 0.0, max)


_RULES = [
    Rule("relu", _relu),
    Rule("leaky_relu", _leaky, ("negative_slope",)),
    Rule("prelu", _prelu, ("weight",)),
    Rule("hardtanh", _hardtanh, ("min_val", "max_val")),
    Rule("relu6", _relu6),
    Rule("hardsigmoid", _hardsigmoid),
    Rule("hardswish", _hardswish),
    Rule("clamp", _clamp, ("min", "max")),
    Rule("clamp_min", _clamp, ("min",)),
]


def _functions() -> dict[object, Rule]:
    """Every callable under which PyTorch offers the activations, in place or not."""
    spaces = (F, torch, Tensor, torch._C._nn)
    found: dict[object, Rule] = {}
    for rule in _RULES:
        for name in (rule.name, f"{rule.name}_"):
            found |= {getattr(space, name): rule for space in spaces if hasattr(space, name)}
            # What a program made by torch.export calls.
            packet = getattr(torch.ops.aten, name, None)
            if packet is not None:
                found[packet.default] = rule
    return found


_REPLACED = _functions()
_SMOOTH = frozenset(
    {"silu", "gelu", "softplus", "mish", "elu", "selu", "celu", "tanh", "sigmoid", "logsigmoid"}
    | {"softsign", "tanhshrink", "glu", "softmax", "log_softmax", "scaled_dot_product_attention"}
)


class _Mode(TorchFunctionMode):
    """Puts softplus in the place of each activation called inside, and counts them."""

    def __init__(self, beta: float, relative: bool) -> None:
        super().__init__()
        self.beta, self.relative = beta, relative
        self.count: Counter[str] = Counter()
        self.smooth_already = False

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        with gradients.keeping():
            rule = _REPLACED.get(func)
            if rule is not None:
                result = rule.replace(self._softplus, func.__name__, args, kwargs or {})
                if result is not None:
                    self.count[rule.name] += 1
                    return result
            self.smooth_already |= _plain_name(func) in _SMOOTH
            return func(*args, **(kwargs or {}))

    def _softplus(self, x: Tensor) -> Tensor:
        if self.relative:
            size = _size(x.detach())
            return size * self._plain(x / size)
        return self._plain(x)

    def _plain(self, x: Tensor) -> Tensor:
        # Below, softplus is 0 to eight digits, but its tiny slopes would become denormal numbers,
        # which slow a CPU down many times; above 20 / beta PyTorch's is the identity, too.
        return F.softplus(x.clamp_min(-20 / self.beta), beta=self.beta)


def _plain_name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).removesuffix(".default").strip("_")


def _size(x: Tensor) -> Tensor:
    """Root mean square of each sample's entries, (N, 1, ...); 1 where all are 0."""
    flat = x.flatten(1) if x.ndim > 1 else x[:, None]
    root = flat.square().mean(1).sqrt().view(-1, *[1] * (x.ndim - 1))
    return torch.where(root > 0, root, 1)


class Smooth(nn.Module):
    """A model with softplus for its kinks; see `smooth`.

    Parameters, buffers and submodules are the model's own, under the same names.

    Attributes:
        beta: of softplus.
        relative: whether beta counts in units of each activation's own inputs.
        replaced: how many activations the last call replaced, by name.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
    >>> copy = Smooth(net, beta=50.0)
    >>> bool((copy(torch.ones(1, 2)) > 0).all()), copy.replaced["relu"]  # softplus is never 0
    (True, 1)
    """

    def __init__(self, model: nn.Module, beta: float, relative: bool = False) -> None:
        super().__init__()
        self.beta, self.relative = beta, relative
        self.replaced: Counter[str] = Counter()
        self.training = getattr(model, "training", False)  # a frozen script has no flag
        self._parameters, self._buffers = model._parameters, model._buffers
        self._modules = model._modules
        self._original = (model,)  # in a tuple, else it would become a submodule

    @property
    def model(self) -> nn.Module:
        """The original, never changed."""
        return self._original[0]

    def forward(self, inputs: Tensor, **extra: Tensor) -> Any:
        """The model's output, with the smooth activations."""
        with programs.eagerly(self.model), _Mode(self.beta, self.relative) as mode:
            args, named = arranged(self.model, (inputs,), extra)
            output = self.model(*args, **named)
        self.replaced = mode.count
        if not mode.count and not mode.smooth_already:
            raise SurefootError(
                f"no activation of {type(self.model).__name__} was replaced by a smooth one; known "
                f"are {', '.join(rule.name for rule in _RULES)}. If the model is smooth already, "
                "pass beta=None. A scripted model, or a kink of its own making "
                "(x * (x > 0)), cannot be replaced: attacks on maps then take "
                'second_order="finite", training needs one of the known activations'
            )
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to undo: the original was never changed."""


def smooth(model: nn.Module, beta: float = DEFAULT, *, relative: bool = False) -> Smooth:
    """The model with ReLU and its relatives replaced by softplus(beta), as a module of its own.

    ReLU becomes log(1 + exp(beta x)) / beta; leaky ReLU and PReLU s x + (1 - s) softplus(x);
    hardtanh and ReLU6 low + softplus(x - low) - softplus(x - high); hardsigmoid and hardswish
    follow from ReLU6. Modules, functional and in-place calls, a clamp from 0, and the programs
    of torch.export count alike. Max-pooling and the like are left as they are. It may be called
    as it is or used in a `with` block; the original is never changed.

    Args:
        model: module from inputs (N, ...) to logits (N, K).
        beta: sharpness; as it grows the model becomes the original. RAR (arXiv 1905.09957) uses
            1. The default of 30 is this project's choice: of 1, 3, 10, 30 and 100 it left least
            of the top 100 of a CIFAR-10 ResNet-20's maps, and as little as any on small networks.
        relative: count beta in units of what enters each activation: its root mean square over one
            sample, taken as a constant, so that layers of any scale are smoothed alike.

    Returns:
        The surrogate; it raises SurefootError when it runs without replacing anything, unless an
        activation that is smooth by itself (SiLU, GELU, softplus, tanh, ...) was called.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    >>> with smooth(net, beta=5) as surrogate:
    ...     _ = surrogate(torch.zeros(1, 2))
    >>> surrogate.replaced
    Counter({'relu': 1})
    """
    if not isinstance(model, nn.Module):
        raise SurefootError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    checks.check_number("beta", beta)
    if not beta > 0:
        raise SurefootError(f"beta={beta}, expected a positive number")
    return Smooth(model, beta, relative)
