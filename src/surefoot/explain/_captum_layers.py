"""Layers as captum needs them: found where none is named, their places in a grid.

Grad-CAM (Selvaraju et al., arXiv 1610.02391) averages gradients over the places of a layer, so
that these must be axes of their own. Convolutions give (N, C, h, w). A vision transformer gives
tokens (N, T, D), a class token and the like in front, and Swin (N, h, w, C).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surefoot import gradients, programs
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.maps import places

_UNEVEN = 1.5  # convolutions without padding take the same from long and short sides
_MOST_IN_FRONT = 16  # tokens that are no places: class, distillation, registers


class Grid(NamedTuple):
    """Where the places of a layer's output are.

    Attributes:
        size: (h, w), (l,) or (d, h, w).
        axis: of the channels.
        front: tokens before the places, where all of them share one axis; else None.
    """

    size: tuple[int, ...]
    axis: int
    front: int | None = None


def grid_of(shape: tuple[int, ...], wanted: tuple[int, ...], *, last: bool = False) -> Grid | None:
    """How an output (N, ...) lies over inputs with these places, or None.

    `last` tells that the inputs themselves have their channels last.

    >>> grid_of((1, 64, 7, 7), (224, 224)), grid_of((1, 7, 7, 768), (224, 224)).axis
    (Grid(size=(7, 7), axis=1, front=None), -1)
    >>> grid_of((1, 197, 192), (224, 224))
    Grid(size=(14, 14), axis=-1, front=1)
    """
    if len(shape) == len(wanted) + 2:
        both = [Grid(tuple(shape[2:]), 1), Grid(tuple(shape[1:-1]), -1)]
        fit = [grid for grid in both if _over(grid.size, wanted)]
        if fit:
            return fit[-1] if last else min(fit, key=lambda grid: _uneven(grid.size, wanted))
    if len(shape) == 3 and len(wanted) > 1:
        for front in range(min(_MOST_IN_FRONT, shape[1] - 1) + 1):
            scale = ((shape[1] - front) / math.prod(wanted)) ** (1 / len(wanted))
            size = tuple(round(scale * side) for side in wanted)
            if math.prod(size) == shape[1] - front and _over(size, wanted):
                return Grid(size, -1, front)
    return None


def _over(size: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a grid of more than one place lies over the inputs, about as long and wide."""
    if math.prod(size) <= 1:
        return False
    smaller = all(small <= big for small, big in zip(size, wanted, strict=True))
    return smaller and _uneven(size, wanted) <= _UNEVEN


def _uneven(size: tuple[int, ...], wanted: tuple[int, ...]) -> float:
    """How much more one side is shortened than another, at least 1."""
    ratios = [big / small for small, big in zip(size, wanted, strict=True)]
    return max(ratios) / min(ratios)


class AsGrid(nn.Module):
    """A layer's output with its channels in axis 1 and its places behind: what captum looks at."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.training = False

    def forward(self, output: Tensor) -> Tensor:
        """(N, C, *size), a tensor of its own."""
        if self.grid.front is not None:
            output = output[:, self.grid.front :]
            output = output.reshape(len(output), *self.grid.size, -1)
        return output.movedim(-1, 1).clone()

    def back(self, output: Tensor, seen: Tensor) -> Tensor:
        """The layer's output with what was seen in its place."""
        plain = seen.movedim(1, -1)
        if self.grid.front is None:
            return plain
        return torch.cat([output[:, : self.grid.front], plain.flatten(1, -2)], 1)

    def hook(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        """As a forward hook of the layer."""
        first = _first(output)
        seen = self.back(first, self(first))
        return seen if isinstance(output, Tensor) else (seen, *output[1:])


def in_grid(layer: nn.Module, request: Query) -> nn.Module:
    """The layer, or the module that sees its output as a grid; put in by a forward hook."""
    outputs: list[Tensor] = []

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        if _first(output) is not None:
            outputs.append(_first(output))

    handle = layer.register_forward_hook(note)
    one = request.take(slice(0, 1))
    try:
        with torch.no_grad():
            gradients.run(one.model, one.inputs, one.extra)
    finally:
        handle.remove()
    grid = _grid(outputs[0], request) if outputs else None
    if grid is None or grid.axis == 1:
        return layer
    view = AsGrid(grid)
    layer.register_forward_hook(view.hook)
    return view


def find_layer(request: Query) -> str:
    """The name of the last layer with places on which the target's score depends.

    A class token leaves the places of the last block out, so that its map would be zero there;
    what counts is that the score's gradient reaches places. Linear layers between the parts of
    attention are passed over.

    Raises:
        SurefootError: there is none.
    """
    one = request.take(slice(0, 1))
    found: list[tuple[str, Tensor, Grid]] = []

    def note(name: str, module: nn.Module, output: Any) -> None:
        first = _first(output)
        if first is None or not first.requires_grad:
            return
        grid = _grid(first, one)
        if grid is not None and not (grid.axis == -1 and isinstance(module, nn.Linear)):
            found.append((name, first, grid))

    handles = [
        module.register_forward_hook(lambda m, _a, output, name=name: note(name, m, output))
        for name, module in one.model.named_modules()
        if name and programs.kind(module) != "scripted"
    ]
    try:
        with torch.enable_grad():
            inputs = one.inputs.detach().clone().requires_grad_()
            logits = gradients.forward(one.model, inputs, one.extra)
    finally:
        for handle in handles:
            handle.remove()
    score = gradients.class_scores(logits, one.target, "logit").sum()
    outputs = [each for _, each, _ in found]
    slopes = torch.autograd.grad(score, outputs, allow_unused=True) if outputs else ()
    for (name, _, grid), slope in zip(reversed(found), reversed(slopes), strict=True):
        if slope is not None and _reaches(slope, grid):
            return name
    raise SurefootError(
        "no layer of the model has places like the inputs' on which the score depends (or its "
        'gradient is zero); name one with layer="...", as `surefoot.decoy.layers(model, inputs)` '
        "lists them"
    )


def _reaches(slope: Tensor, grid: Grid) -> bool:
    seen = slope if grid.axis == 1 else AsGrid(grid)(slope)
    return int((seen != 0).any(1).sum()) > 1


def _first(output: Any) -> Any:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def _grid(output: Tensor, request: Query) -> Grid | None:
    layout = request.needed_layout()
    if layout == "record":
        return None
    wanted = places(layout, request.inputs.shape)
    return grid_of(tuple(output.shape), wanted, last=layout == "tokens")


def needs_layer(methods: list[type], options: Mapping[str, Any]) -> bool:
    """Whether one of captum's methods explains a layer and none is named."""
    named = any("Layer" in method.__name__ or "GradCam" in method.__name__ for method in methods)
    return named and "layer" not in options
