"""A model called on a batch: in chunks, on a copy, in the layout that convolutions like."""

from collections.abc import Callable, Mapping
from weakref import WeakSet

import torch
from torch import Tensor, nn

from surefoot import checks, turns
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.gradients._calls import arranged
from surefoot.gradients._faults import blamed, translated

_CHANNELS_FIRST: "WeakSet[nn.Module]" = WeakSet()
_CHANNELS_LAST: "WeakSet[nn.Module]" = WeakSet()


def predict(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Logits (N, K) without a graph, in chunks."""
    extra = extra or {}

    def compute(block: Block) -> Tensor:
        some = {name: value[block.samples] for name, value in extra.items()}
        return forward(model, inputs[block.samples], some)

    with torch.no_grad():
        parts = each_block(len(inputs), 1, rows_per_batch(inputs, chunk), compute)
        return checks.check_known(torch.cat([logits for _, logits in parts]))


def forward(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
    """Logits (N, K) of one batch."""
    return checks.check_logits(run(model, inputs, extra), len(inputs), has_one_output(model))


def has_one_output(model: nn.Module) -> bool:
    """Whether a model, or what it wraps, says that what it gives are no classes."""
    return _says(model, "one_output")


def are_independent(model: nn.Module) -> bool:
    """Whether a model, or what it wraps, says that its classes do not exclude each other."""
    return _says(model, "independent")


def _says(model: nn.Module, what: str) -> bool:
    asked: object = model
    while isinstance(asked, nn.Module):
        if getattr(asked, what, False) is True:
            return True
        asked = getattr(asked, "model", None)
    return False


def run(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> object:
    """`model(inputs, **extra)` on a copy, so that a first layer in place harms nothing.

    On a CPU, images are laid out channels last, which convolutions like better (about 15 % on
    EfficientNet-Lite0); a model that cannot take that, because it calls `.view` on a feature map,
    is remembered by its first layer, whatever wraps it, and gets the ordinary layout. What the
    pass that failed did to buffers and random numbers is undone.
    """
    with turns.shared(), blamed(model, inputs), translated(model, inputs):
        if inputs.ndim == 4 and inputs.device.type == "cpu":
            return _channels_last(model, inputs, extra)
        return _called(model, inputs.clone(), extra)


def _called(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> object:
    args, named = arranged(model, (inputs,), extra)
    return model(*args, **named)


def _channels_last(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> object:
    layer = _first_layer(model)
    if layer not in _CHANNELS_FIRST:
        undo = None if layer in _CHANNELS_LAST else _undo(model)
        try:
            result = _called(model, inputs.clone(memory_format=torch.channels_last), extra)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _CHANNELS_FIRST.add(layer)
            if undo is not None:
                undo()
        else:
            _CHANNELS_LAST.add(layer)
            return result
    return _called(model, inputs.clone(), extra)


def _first_layer(model: nn.Module) -> nn.Module:
    """The first submodule with weights of its own, which is the same in every wrapper."""
    for layer in model.modules():
        if next(layer.parameters(recurse=False), None) is not None:
            return layer
    return model


def _undo(model: nn.Module) -> Callable[[], None]:
    """What puts the model's buffers and torch's random numbers back to where they are now."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    state = torch.get_rng_state()

    def restore() -> None:
        torch.set_rng_state(state)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)

    return restore
