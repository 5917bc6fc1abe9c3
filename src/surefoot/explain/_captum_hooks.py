"""Keeping captum's module hooks honest: nothing outlives the call, nothing is missed silently.

DeepLift, GuidedBackprop, Deconvolution, GuidedGradCam and LRP put hooks on activation *modules*.
An activation called as a function (F.relu) gets none, and the map silently becomes the plain
gradient there. So the activations of one forward pass are counted, however they are called.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from surefoot import gradients, programs
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.gradients import Query
from surefoot.undo import Undo

_RECTIFIERS = frozenset(
    {"relu", "relu6", "hardtanh", "clamp", "clamp_min", "threshold", "leaky_relu", "prelu"}
    | {"rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish"}
)
_SQUASHERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "logsigmoid", "softsign", "tanhshrink"})
_SOFTMAX = frozenset({"softmax", "log_softmax", "scaled_dot_product_attention"})
_POOLS = frozenset(
    f"{kind}max_pool{dims}d{tail}"
    for kind in ("", "adaptive_")
    for dims in (1, 2, 3)
    for tail in ("", "_with_indices")
)


@dataclass(frozen=True)
class Family:
    """Methods that hook the same modules: which these are, and which functions they stand for."""

    words: tuple[str, ...]
    hooked: Callable[[nn.Module], bool]
    functions: frozenset[str]
    once: bool

    def names(self, method: type) -> bool:
        """Whether the method is of this family."""
        return any(word in kind.__name__ for kind in method.__mro__ for word in self.words)


_DEEP_LIFT_TYPES = (
    *(nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.Softmax),
)
FAMILIES = (
    Family(
        ("GuidedBackprop", "Deconvolution", "GuidedGradCam"),
        lambda module: isinstance(module, nn.ReLU),
        _RECTIFIERS,
        once=False,
    ),
    Family(
        ("DeepLift",),
        lambda module: type(module) in _DEEP_LIFT_TYPES,
        _RECTIFIERS | _SQUASHERS | _POOLS | _SOFTMAX,
        once=True,
    ),
    Family(
        ("LRP",),
        lambda module: type(module) in (nn.ReLU, nn.Tanh),
        _RECTIFIERS | _SQUASHERS | _SOFTMAX,
        once=True,
    ),
)


def family(method: type) -> Family | None:
    """The family of module-hook methods that `method` belongs to, if any."""
    return next((each for each in FAMILIES if each.names(method)), None)


def check_hooks(method: type, request: Query) -> bool:
    """Whether captum's hooks see all activations of this model; raises or warns if not.

    It takes one forward pass.

    Raises:
        SurefootError: not one activation is a module the method can hook, or a module that may
            be used once is used several times.

    Warns:
        SurefootWarning: some activations are not, and are treated as in the plain gradient.
    """
    group = family(method)
    if group is None:
        return True
    made = programs.hidden(request.model, "scripted", "exported")
    if made:
        raise SurefootError(
            f"{method.__name__} works by hooks on activation modules, and sees none inside a "
            f"program that is {made} ({programs.MADE_BY[made]}); it would silently return the "
            "plain gradient. Give the torch.nn.Module it was made of, or use Gradient"
        )
    functions, modules = _count(request.take(slice(0, 1)), group)
    reused = [name for name, times in modules.items() if times > 1]
    if group.once and reused:
        raise SurefootError(
            f"{method.__name__} is wrong when a module is used more than once, and {reused[0]!r} "
            f"is used {modules[reused[0]]} times; give each place a module of its own"
        )
    called, hooked = sum(functions.values()), sum(modules.values())
    if called <= hooked:
        return True
    told = f"{called - hooked} of {called} activations ({', '.join(functions)})"
    if not hooked:
        raise SurefootError(
            f"{method.__name__} works by hooks on activation modules such as nn.ReLU, and finds "
            f"none: {told} are function calls or other modules, so it would silently return the "
            "plain gradient. Write them as modules (nn.ReLU), or use Gradient"
        )
    warnings.warn(
        f"{method.__name__} cannot hook {told}: function calls such as F.relu, or modules it does "
        "not know; there it acts as the plain gradient",
        SurefootWarning,
        stacklevel=2,
    )
    return False


def _count(request: Query, group: Family) -> tuple[Counter[str], Counter[str]]:
    """Calls of the family's functions, by name, and of the modules it hooks, by name."""
    modules: Counter[str] = Counter()
    handles = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: modules.update([name]))
        for name, module in request.model.named_modules()
        if group.hooked(module)
    ]
    counter = _Counting(group.functions)
    try:
        # With gradients on, or PyTorch takes fused paths that show no activations.
        with torch.enable_grad(), counter:
            gradients.forward(request.model, request.inputs, request.extra)
    finally:
        for handle in handles:
            handle.remove()
    return counter.calls, modules


class _Counting(TorchFunctionMode):
    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in self.names:
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


def untouched(model: nn.Module) -> Undo[None]:
    """Whatever is done to the modules inside, they are as before afterwards.

    Hooks, attributes and parameter storage are put back, whatever ends the block. In-place
    activations are switched off meanwhile: they overwrite what hooks on modules and layers look at.
    """

    def do(undo: Undo[None]) -> None:
        before = [(vars(module), dict(vars(module))) for module in model.modules()]
        tables = [(v, v.copy()) for _, held in before for v in held.values() if isinstance(v, dict)]
        storage = [(parameter, parameter.data) for parameter in model.parameters()]
        undo.then(lambda: _restore([*before, *tables], storage))
        for live, held in before:
            live.update({"inplace": False} if held.get("inplace") is True else {})

    return Undo(do)


def _restore(
    tables: list[tuple[dict[str, Any], dict[str, Any]]],
    storage: list[tuple[nn.Parameter, torch.Tensor]],
) -> None:
    # In place, and never empty on the way: handles of the caller's own hooks refer to these very
    # dicts, and an interrupt may come between.
    for live, held in tables:
        live.update(held)
        for name in live.keys() - held.keys():
            del live[name]
    for parameter, values in storage:
        if parameter.data_ptr() != values.data_ptr():
            parameter.data = values
