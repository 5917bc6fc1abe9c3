"""Batch norm folded into the convolutions before it: the same network up to rounding, and faster.

In evaluation mode batch norm is an affine map for each channel, so that a convolution followed by
it is one convolution. Which convolution comes before which batch norm is seen in a pass, not
derived; the result is compared with the network itself, and what does not agree is refused.
"""

import copy
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from surefoot import checks, gradients, turns
from surefoot.errors import SurefootError

_SIZES = (224, 32, 64, 28, 96, 128, 256, 299, 384)  # of images tried where none are given
_TOLERANCE = 1e-3  # of the largest output, in single precision
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *_TRANSPOSED)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(
    model: nn.Module, inputs: Tensor | None = None, extra: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """A copy of `model` with batch norm folded into convolutions, checked on the spot.

    The copy shares all weights that are not folded. Its gradients in the inputs are those of the
    model up to rounding; a layer keeps its name, but a folded convolution gives what batch norm
    gave. Training it is not the same as training the model.

    Args:
        model: in evaluation mode.
        inputs: (N, ...) for the pass that finds what can be folded and for the comparison; None
            tries noise as images of common sizes.
        extra: further keyword inputs of the model.

    Returns:
        The folded copy, or a copy that folds nothing where nothing can be.

    Raises:
        SurefootError: a training-mode model; no inputs, and the model takes none of those tried;
            outputs that differ beyond rounding.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    >>> net = net.eval(); _ = net(torch.rand(1, 3, 8, 8))
    >>> folded(net, torch.rand(1, 3, 8, 8))[1]
    Identity()
    """
    checks.check_model(model)
    more = dict(extra or {})
    if inputs is not None and (not isinstance(inputs, Tensor) or not inputs.numel()):
        came = tuple(getattr(inputs, "shape", ())) or type(inputs).__name__
        raise SurefootError(f"inputs is {came}, expected a batch (N, ...) that is not empty")
    given = _noise(model, more) if inputs is None else inputs
    with torch.no_grad():
        wanted = _logits(model, given, more)
        result = fold(model, given, more)
        found = _logits(result, given, more)
    worst = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not worst <= _TOLERANCE:
        raise SurefootError(
            f"the folded model's outputs differ by {worst:.2g} of the largest one: something "
            "between a convolution and its batch norm is not seen in a pass; use the model itself"
        )
    return result


def fold(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    keep: tuple[str, ...] = (),
) -> nn.Module:
    """Like `folded`, unchecked; layers named in `keep` give what they gave."""
    pairs = _pairs(model, inputs, extra)
    # Weights are shared: only modules are copied, and the folded ones get weights of their own.
    shared = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    result = copy.deepcopy(model, shared)
    for before, norm in pairs:
        if before not in keep:
            _merge(result, before, norm)
    return result


@dataclass
class _Trace:
    """Which module made which tensor last, and how often each was called."""

    made: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)


def _pairs(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Convolutions whose very output goes into a batch norm, each called once."""
    trace, handles, mine = _Trace(), list[RemovableHandle](), threading.get_ident()

    def after(name: str, linear: bool) -> object:
        def see(_module: nn.Module, args: tuple[object, ...], output: object) -> None:
            if threading.get_ident() != mine:
                return
            trace.calls[name] = trace.calls.get(name, 0) + 1
            if linear and isinstance(output, Tensor):
                trace.made[id(output)] = (name, output)
            elif args and id(args[0]) in trace.made:
                trace.pairs.append((trace.made[id(args[0])][0], name))

        return see

    with turns.shared(), torch.no_grad():
        try:
            for name, module in model.named_modules():
                linear = isinstance(module, _LINEAR) and "weight" in dict(module.named_parameters())
                if linear or _is_norm(module):
                    handles.append(module.register_forward_hook(after(name, linear)))
            gradients.run(model, inputs[:1], extra)
        finally:
            for handle in handles:
                handle.remove()
    used = [before for before, _ in trace.pairs]
    return [
        (before, norm)
        for before, norm in trace.pairs
        if used.count(before) == 1 and trace.calls[before] == trace.calls[norm] == 1
    ]


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) and module.running_mean is not None


def _merge(model: nn.Module, before: str, norm: str) -> None:
    """Fold one batch norm; what a subclass does after it (drop, activation) stays."""
    linear, after = model.get_submodule(before), model.get_submodule(norm)
    weight, bias = dict(linear.named_parameters())["weight"], linear.bias
    transposed = isinstance(linear, _TRANSPOSED)
    if transposed and linear.groups != 1:
        return
    scale, shift = _affine(after)
    along = [1, -1] if transposed else [-1]
    with torch.no_grad():
        wide = weight * scale.view(*along, *[1] * (weight.ndim - len(along)))
        moved = shift + scale * bias if isinstance(bias, Tensor) else shift
    linear.weight = nn.Parameter(wide.to(weight), requires_grad=False)
    linear.bias = nn.Parameter(moved.to(weight), requires_grad=False)
    rest = [part for name in ("drop", "act") if (part := getattr(after, name, None)) is not None]
    parent, _, last = norm.rpartition(".")
    setattr(
        model.get_submodule(parent), last, (nn.Sequential(*rest) if rest else nn.Identity()).eval()
    )


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What batch norm multiplies each channel by, and what it adds."""
    values = {**dict(norm.named_parameters()), **dict(norm.named_buffers())}
    with torch.no_grad():
        scale = (values["running_var"] + float(getattr(norm, "eps"))).rsqrt()  # noqa: B009
        scale = scale * values.get("weight", 1)
        return scale, values.get("bias", 0) - values["running_mean"] * scale


def _logits(model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
    return gradients.single(gradients.forward(model, inputs, extra))


def _noise(model: nn.Module, extra: Mapping[str, Tensor]) -> Tensor:
    """Noise of the first size that the model takes."""
    channels = [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)][:1]
    weight = next(model.parameters(), torch.empty(0, device="cpu"))
    generator = torch.Generator("cpu").manual_seed(0)
    for channel, size in itertools.product(channels, _SIZES):
        images = torch.rand(1, channel, size, size, generator=generator, device="cpu")
        images = images.to(weight)
        try:
            with torch.no_grad():
                gradients.forward(model, images, extra)
        except (RuntimeError, ValueError, TypeError):
            continue
        return images
    raise SurefootError(
        "no inputs were given and none could be guessed; pass folded(model, inputs)"
    )
