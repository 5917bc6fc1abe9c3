"""Models that are no plain modules: scripted, exported and compiled ones, and what they hide."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from types import CodeType
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.fx import GraphModule

Kind = Literal["scripted", "exported", "compiled"]

# Where an operator of an exported program keeps whether it acts as in training.
_TRAINING = {
    torch.ops.aten.dropout.default: 2,
    torch.ops.aten.feature_dropout.default: 2,
    torch.ops.aten.alpha_dropout.default: 2,
    torch.ops.aten.native_dropout.default: 2,
    torch.ops.aten.batch_norm.default: 5,
}
_NAMES: "WeakKeyDictionary[type, frozenset[str]]" = WeakKeyDictionary()
MADE_BY = {"scripted": "torch.jit", "exported": "torch.export", "compiled": "torch.compile"}


def kind(module: nn.Module) -> Kind | None:
    """Which sort of program the module itself is, or None."""
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted"
    if isinstance(module, GraphModule) and "train" in vars(module):
        return "exported"
    if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
        return "compiled"
    return None


def hidden(model: nn.Module, *kinds: Kind) -> Kind | None:
    """The first of these sorts of program in the model: hooks on modules see nothing in there."""
    found = (kind(module) for module in model.modules())
    return next((each for each in found if each in kinds), None)


def inside(modules: Mapping[str, nn.Module], name: str) -> bool:
    """Whether the module of that name is, or belongs to, a program where nothing can be seen."""
    return any(each != "compiled" for each in around(modules, name))


def around(modules: Mapping[str, nn.Module], name: str) -> list[Kind]:
    """The programs that a module of that name is in or is, from the outermost."""
    above = ["", *accumulate(name.split("."), lambda path, part: f"{path}.{part}")]
    return [found for found in (kind(modules[each]) for each in above) if found]


@contextmanager
def eagerly(model: nn.Module) -> Iterator[None]:
    """Without what torch.compile made of the model or of its parts, where hooks go unseen."""
    if hidden(model, "compiled"):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


def in_training(model: nn.Module) -> Iterator[str]:
    """Names of the parts that act as in training; an exported program keeps its export's mode."""
    inside: set[int] = set()
    for name, module in model.named_modules():
        if kind(module) == "exported":
            inside |= {id(part) for part in module.modules()}
            yield from (f"{name}: {node}" for node in training_nodes(module.graph))
        elif "_orig_mod" in module._modules:
            continue  # torch.compile's wrapper, whose own flag before torch 2.5 follows nothing
        elif id(module) not in inside and getattr(module, "training", False):
            yield name or "the model"


def training_nodes(graph: torch.fx.Graph) -> Iterator[str]:
    """Names of an exported program's operators that act as in training."""
    for node in graph.nodes:
        place = _TRAINING.get(node.target)
        if place is not None and len(node.args) > place and node.args[place] is True:
            yield node.name


def reads_mode(module: nn.Module) -> bool:
    """Whether the module's own code looks at `training`: else its mode makes no difference."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    return "training" in _names(type(module))


def mentions(kind: type[nn.Module], word: str) -> bool:
    """Whether the code of a kind of module holds a name with that word in it."""
    return any(word in name for name in _names(kind))


def _names(kind: type[nn.Module]) -> frozenset[str]:
    """The names in the code of a kind of module, as far as it is not PyTorch's base."""
    if kind not in _NAMES:
        own = kind.__mro__[: kind.__mro__.index(nn.Module)]
        functions = (function for one in own for function in vars(one).values())
        codes = (code for f in functions for code in _codes(getattr(f, "__code__", None)))
        _NAMES[kind] = frozenset(name for code in codes for name in code.co_names)
    return _NAMES[kind]


def _codes(code: Any) -> Iterator[CodeType]:
    """A function's code and that of the functions written inside it."""
    if isinstance(code, CodeType):
        yield code
        for constant in code.co_consts:
            yield from _codes(constant)


def evaluate(module: nn.Module) -> None:
    """Like `module.eval()`, which exported programs refuse."""
    for part in module.modules():
        part.training = False


def settle(model: nn.Module) -> list[nn.Module]:
    """Put a model whose mode makes no difference into evaluation mode; what was not in it.

    Any other model is left as it is.
    """
    training = [module for module in model.modules() if getattr(module, "training", False)]
    if any(reads_mode(module) for module in training):
        return []
    for module in training:
        module.training = False
    return training


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """A model whose mode makes no difference, in evaluation mode meanwhile."""
    training = settle(model)
    try:
        yield
    finally:
        for module in training:
            module.training = True
