"""Decoys of a batch (Eq. 1 and 2 of arXiv 2002.00526), each with its certificate."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.decoy._geometry import plan_masks
from surefoot.decoy._layer import Trunk
from surefoot.decoy._layers import default_layer
from surefoot.decoy._search import Search
from surefoot.decoy._settings import Effort, Settings, Units
from surefoot.errors import SurefootError
from surefoot.layers import layer_name
from surefoot.typed import typed


@dataclass(frozen=True, repr=False)
class Decoys:
    """M decoys of each of N inputs, upper and lower by turns, and what they fulfil.

    Attributes:
        inputs: (N, M, ...), the decoys.
        masks: (M, H, W), (M, T) or (M, F) bool: where each may differ from the original.
        sign: (M,), +1 or -1: the direction Eq. 2 pushes in.
        deviation: (N, M), max |F_l(decoy) - F_l(x)| / s over the layer's outputs, measured in a
            forward pass of its own; s is the root mean square of F_l(x) over that one input
            (units="rms") or 1 ("absolute").
        swing: (N, M) in [0, 1], sum of (sign * (decoy - x))^+ over the mask, divided by the room
            in that direction; 0 where there is none.
        moved: (N, M) bool: whether the decoy differs from the original.
        layer: name of the layer.
        epsilon: bound on the deviation.
        units: of epsilon and deviation.
        joint: whether the patches of a mask were solved together because they meet at the layer;
            their corners' independence is then lost, the certificate is the same.
        coverage: share of places that lie in some mask.
        corners: for each decoy the corners of its patches, (P, axes).
        patch: side of a patch.
    """

    inputs: Tensor
    masks: Tensor
    sign: Tensor
    deviation: Tensor
    swing: Tensor
    moved: Tensor
    layer: str
    epsilon: float
    units: Units
    joint: bool
    coverage: float
    corners: tuple[Tensor, ...]
    patch: int

    def _repr_html_(self) -> str | None:
        """What a notebook shows: some of them, and what they cover."""
        # An arrow upwards, as of an explanation: whoever looks at a result sees it drawn.
        report = importlib.import_module("surefoot.report")
        try:
            found: str | None = report.decoys_html(self)
        except SurefootError:
            return None
        return found

    def __repr__(self) -> str:
        samples, count = self.deviation.shape
        return (
            f"Decoys({samples} x {count} at layer {self.layer!r}, epsilon={self.epsilon} "
            f"{self.units}, coverage={self.coverage:.0%}, moved={self.moved.float().mean():.0%}, "
            f"median swing={self.swing.median():.3f}, max deviation={self.deviation.max():.4f}"
            f"{', solved jointly' if self.joint else ''})"
        )


@typed
def make_decoys(
    model: nn.Module,
    inputs: Tensor,
    *,
    layer: str | nn.Module | None = None,
    patch: int = 3,
    stride: int | None = None,
    epsilon: float = 0.1,
    decoys: int = 64,
    bounds: checks.Bounds = (0, 1),
    seed: int = 0,
    units: Units = "rms",
    cap: float | None = None,
    effort: Effort = "auto",
    extra: Mapping[str, Tensor] | None = None,
) -> Decoys:
    """Inputs that differ from the originals inside patches only and give the same layer output.

    For every mask and both signs s, Eq. 2 of arXiv 2002.00526 is solved:
    max ||(s (x~ - x))^+||_1 such that |F_l(x~) - F_l(x)| <= epsilon, x~ in the bounds and x~ = x
    off the mask. A mask holds as many patches as do not meet at the layer. The solver, the
    packing and all defaults are this project's choice: the paper does not give its own.

    Args:
        model: module from inputs (N, ...) to logits, in evaluation mode.
        inputs: images (N, C, H, W), embedded tokens (N, T, D) or records (N, F), in the bounds.
        layer: F_l, by module name or module; None takes the deepest layer smaller than the input
            whose patches still cover it all.
        patch: side of a patch in pixels, tokens or features.
        stride: between patches of all masks together; None puts them side by side, or as close
            as `decoys` allows.
        epsilon: bound on the deviation, in `units`.
        decoys: at most, for each input; two (both signs) a mask.
        bounds: (low, high), numbers or tensors broadcastable to one input.
        seed: of the choice of masks, where `stride` asks for more than fit, and of the joint
            solver's start.
        units: "rms" measures deviation by the layer's root mean square over that one input,
            "absolute" as it is (the paper).
        cap: bound on each feature's |x~ - x| (the condition of the paper's Proposition 1).
        effort: "fast" linearises the layer once, "thorough" again in every round (twice the
            swing on photographs, for about four times the passes); "auto" is thorough where that
            is cheap.
        extra: further keyword inputs of the model, leading dimension N.

    Returns:
        The decoys with masks and certificate. One that cannot move stays the input itself.

    Raises:
        SurefootError: inputs outside the bounds, an unknown layer, a patch larger than the
            image, a setting out of range, a training-mode model.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> d = make_decoys(net.eval(), torch.full((1, 6), 0.5), layer="1", units="absolute")
    >>> d.inputs.shape, bool((d.deviation <= d.epsilon).all()), bool(d.moved.all())
    (torch.Size([1, 4, 6]), True, True)
    """
    more = checks.check_extra(extra, len(inputs))
    settings = Settings(layer, patch, stride, epsilon, decoys, bounds, seed, units, cap, effort)
    search = prepare(model, inputs, more, settings)
    count = search.count
    found = inputs.detach()[:, None].repeat(1, count, *[1] * (inputs.ndim - 1))
    deviation, swing = inputs.new_zeros(2, len(inputs), count)
    for i in range(len(inputs)):
        one = {name: value[i : i + 1] for name, value in more.items()}
        for part in search.of(inputs[i : i + 1], one):
            found[i, part.which] = part.inputs
            deviation[i, part.which], swing[i, part.which] = part.deviation, part.swing
    masks = search.plan.as_bool().to(inputs.device).repeat_interleave(2, 0)
    return Decoys(
        inputs=found,
        masks=masks,
        sign=torch.tensor([1, -1], device=inputs.device).repeat(count // 2),
        deviation=deviation,
        swing=swing,
        moved=(found != inputs.detach()[:, None]).flatten(2).any(2),
        layer=search.trunk.layer,
        epsilon=epsilon,
        units=units,
        joint=search.plan.joint,
        coverage=float(masks.any(0).float().mean()),
        corners=tuple(mask.patches for mask in search.plan.masks for _ in range(2)),
        patch=patch,
    )


def prepare(
    model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor], settings: Settings
) -> Search:
    """Find the layer and pack the patches for inputs like these."""
    checks.check_model(model)
    checks.check_inputs(inputs)
    low, high = checks.check_bounds(inputs, settings.bounds)
    one = {name: value[:1] for name, value in extra.items()}
    first = inputs[:1].detach()
    trunk = Trunk(model, choose_layer(model, first, one, settings))
    with torch.no_grad():
        return Search(trunk, plan_masks(trunk, first, one, settings), low, high, settings)


def choose_layer(
    model: nn.Module, inputs: Tensor, extra: Mapping[str, Tensor], settings: Settings
) -> str:
    """The name of the layer that is set, or of the default one."""
    layer = settings.layer
    if layer is None:
        layer = default_layer(model, inputs, settings, extra)
    return layer_name(model, layer)
