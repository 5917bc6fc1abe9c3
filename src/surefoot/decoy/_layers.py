"""Which layers of a model are fit for decoys, and which is taken by default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.decoy._geometry import places_of
from surefoot.decoy._settings import Settings
from surefoot.errors import SurefootError


@dataclass(frozen=True)
class Layer:
    """A candidate layer F_l, seen from one input.

    Attributes:
        name: module name, as `layer=` takes it.
        shape: of its output for one input.
        ratio: output numbers per input number; below 1 some change must go unseen.
        spacing: least places between two patches that do not meet at the layer; None where every
            patch reaches everything (attention, fully connected layers).
        coverage: share of the input that one map covers with patches packed side by side.
    """

    name: str
    shape: tuple[int, ...]
    ratio: float
    spacing: int | None
    coverage: float


def layers(
    model: nn.Module,
    inputs: Tensor,
    *,
    patch: int = 3,
    decoys: int = 64,
    extra: Mapping[str, Tensor] | None = None,
) -> list[Layer]:
    """The layers of `model` in the order they run, as candidates for `layer=`.

    One pass with a patch of NaN in the middle of the first input shows how far it reaches.

    Args:
        model: in evaluation mode.
        inputs: (N, ...), of which the first is used.
        patch: side of a patch.
        decoys: of one map.
        extra: further keyword inputs of the model.
    """
    checks.check_model(model)
    checks.check_inputs(inputs)
    sample = inputs[:1].detach()
    places = places_of(tuple(sample.shape[1:]))
    probe = sample.clone()
    middle = [slice(size // 2, size // 2 + patch) for size in places]
    where = (slice(None), *middle)
    (probe.movedim(1, -1) if probe.ndim == 4 else probe)[where] = torch.nan
    more = {name: value[:1] for name, value in checks.check_extra(extra, len(inputs)).items()}
    outputs = _record(model, probe, more)
    return [
        _describe(name, output, sample, places, patch, decoys) for name, output in outputs.items()
    ]


def default_layer(
    model: nn.Module, inputs: Tensor, settings: Settings, extra: Mapping[str, Tensor]
) -> str:
    """The deepest layer smaller than the input whose patches still cover it all.

    This project's choice, see docs/decoys.md. Without such a layer: the first one that is smaller
    than the input, else the smallest before the last.

    Raises:
        SurefootError: the model has no layer before its output.
    """
    rows = layers(model, inputs, patch=settings.patch, decoys=settings.decoys, extra=extra)
    inner = [row for row in rows[:-1] if len(row.shape) >= 1 and math.prod(row.shape) > 1]
    if not inner:
        raise SurefootError(
            f"{type(model).__name__} has no layer before its output; pass layer= by name or module"
        )
    smaller = [row for row in inner if row.ratio < 1]
    covering = [row for row in smaller if row.spacing is not None and row.coverage >= 1]
    if covering:
        deepest = covering[-1]
        same = [row for row in covering if row.shape == deepest.shape]
        return min(reversed(same), key=lambda row: row.name.count(".")).name
    return smaller[0].name if smaller else min(inner, key=lambda row: row.ratio).name


def _record(model: nn.Module, probe: Tensor, extra: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each module's first output, in the order of running."""
    outputs: dict[str, Tensor] = {}
    handles = []

    def hook(name: str) -> object:
        def keep(_module: nn.Module, _args: object, output: object) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            if name not in outputs and isinstance(first, Tensor) and first.ndim >= 2:
                outputs[name] = first.detach().isnan()

        return keep

    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(hook(name)))
    try:
        with torch.no_grad():
            gradients.run(model, probe, extra)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _describe(
    name: str, hit: Tensor, sample: Tensor, places: tuple[int, ...], patch: int, decoys: int
) -> Layer:
    shape = tuple(hit.shape[1:])
    ratio = math.prod(shape) / sample[0].numel()
    spacing = _spacing(hit, places) if hit.ndim == 4 and len(places) == 2 else None
    if spacing is None:
        return Layer(name, shape, ratio, None, 1.0)
    step = max(patch, math.ceil(spacing / math.isqrt(max(1, decoys // 2))))
    return Layer(name, shape, ratio, spacing, min(1.0, (patch / step) ** 2))


def _spacing(hit: Tensor, places: tuple[int, ...]) -> int | None:
    """Input places the patch's outputs stretch over, or None if it is all of them."""
    spans = []
    for axis, size in zip((2, 3), places, strict=True):
        touched = int(hit.movedim(axis, 0).flatten(1).any(1).sum())
        if touched == hit.shape[axis]:
            return None
        spans.append((touched - 1) * round(size / hit.shape[axis]) + 1)
    return max(spans)
