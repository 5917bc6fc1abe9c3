"""Copies of models, those too that keep a tensor of their last pass."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

T = TypeVar("T")


def copied(value: T, *models: nn.Module) -> T:
    """A deep copy of something, in which tensors that the models computed are copied without graph.

    `copy.deepcopy` refuses those: a feature map that a module has kept for Grad-CAM, or the weight
    that `torch.nn.utils.weight_norm` computes before each pass.

    Args:
        value: what is copied: a model, or several things around models.
        models: where such tensors may be, `value` itself if it is a module and none is given.

    >>> net = nn.Linear(2, 2)
    >>> net.kept = net(net.weight)
    >>> copied(net).kept.grad_fn is None
    True
    """
    memo: dict[int, Any] = {}
    for model in models or ((value,) if isinstance(value, nn.Module) else ()):
        for module in model.modules():
            for kept in _tensors(vars(module)):
                if not kept.is_leaf:
                    memo[id(kept)] = kept.detach().clone()
    return copy.deepcopy(value, memo)


def _tensors(value: object, depth: int = 4) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and mappings, modules left out."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping | list | tuple | set):
        for one in list(value.values() if isinstance(value, Mapping) else value):
            if not isinstance(one, nn.Module):
                yield from _tensors(one, depth - 1)
