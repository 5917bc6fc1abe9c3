"""Decoys of a batch (Eq. 1 and 2 of arXiv 2002.00526), each with its certificate."""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from surefoot import checks, gradients, maps, progress as bars
from surefoot.decoy._layer import Name, Trunk, quick
from surefoot.decoy._layers import choose
from surefoot.decoy._plan import plan_masks
from surefoot.decoy._search import Search
from surefoot.decoy._seen import seen_places
from surefoot.decoy._settings import Effort, Layers, Settings, Units
from surefoot.errors import SurefootError, SurefootWarning
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
        layer: name of the layer, or the names of several that are one representation.
        cut: whether all of the network's information passes the layer; if not, the certificate
            does not speak of what goes round it.
        chosen: how the layer was chosen, in words.
        epsilon: bound on the deviation.
        units: of epsilon and deviation.
        joint: whether the patches of a mask were solved together because they meet at the layer;
            their corners' independence is then lost, the certificate is the same.
        coverage: share of places that lie in some mask. Places that the layer does not see lie in
            none: nothing would bind them.
        corners: for each decoy the corners of its patches, (P, axes).
        patch: side of a patch.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> d = make_decoys(net.eval(), torch.full((1, 6), 0.5), layer="0")
    >>> d.layer, d.cut, d.coverage, bool((d.deviation <= d.epsilon * (1 + 1e-4)).all())
    ('0', True, 1.0, True)
    """

    inputs: Tensor
    masks: Tensor
    sign: Tensor
    deviation: Tensor
    swing: Tensor
    moved: Tensor
    layer: Name
    cut: bool
    chosen: str
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
            f"{', solved jointly' if self.joint else ''}{'' if self.cut else ', not a cut'})"
        )


@typed
def make_decoys(
    model: nn.Module,
    inputs: Tensor,
    *,
    layer: Layers = None,
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
    layout: maps.Layout | None = None,
    progress: bars.Progress = False,
) -> Decoys:
    """Inputs that differ from the originals inside patches only and give the same layer output.

    For every mask and both signs s, Eq. 2 of arXiv 2002.00526 is solved:
    max ||(s (x~ - x))^+||_1 such that |F_l(x~) - F_l(x)| <= epsilon, x~ in the bounds and x~ = x
    off the mask. Every place lies in some mask; where the effects of a mask's patches meet at the
    layer, they are solved together. The solver, the packing and all defaults are this project's
    choice: the paper does not give its own.

    Args:
        model: module from inputs (N, ...) to logits, in evaluation mode.
        inputs: images (N, C, H, W), volumes (N, C, D, H, W), signals (N, C, L), embedded tokens
            (N, T, D) or records (N, F), in the bounds.
        layer: F_l, by module name or module; several, as a tuple, are one representation. None
            takes a cut: a layer that all of the network's information passes.
        patch: side of a patch in pixels, tokens or features.
        stride: between patches of all masks together, on one grid; None puts them side by side,
            for images and volumes off a common grid where they can keep apart.
        epsilon: bound on the deviation, in `units`.
        decoys: at most, for each input; two (both signs) a mask.
        bounds: (low, high), numbers or tensors broadcastable to one input.
        seed: of where patches lie, and of the joint solver's start.
        units: "rms" measures deviation by the layer's root mean square over that one input,
            "absolute" as it is (the paper).
        cap: bound on each feature's |x~ - x| (the condition of the paper's Proposition 1).
        effort: "fast" linearises the layer once, "thorough" again in every round (twice the
            swing on photographs, for several times the passes); "auto" is thorough where that is
            cheap.
        extra: further keyword inputs of the model, leading dimension N.
        layout: of the inputs, where neither their shape nor the model says it.
        progress: whether to show a bar, or what to call with decoys done and their number.

    Returns:
        The decoys with masks and certificate. One that cannot move stays the input itself.

    Raises:
        SurefootError: inputs outside the bounds, an unknown layer or one that does not see the
            input, a patch larger than the image, a setting out of range, a training-mode model.

    Warns:
        SurefootWarning: the layer that was named is no cut, or does not see all of the input.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> d = make_decoys(net.eval(), torch.full((1, 6), 0.5), layer="1", units="absolute")
    >>> d.inputs.shape, bool((d.deviation <= d.epsilon).all()), bool(d.moved.all())
    (torch.Size([1, 4, 6]), True, True)
    """
    checks.check_inputs(inputs)
    more = checks.check_extra(extra, len(inputs))
    settings = Settings(layer, patch, stride, epsilon, decoys, bounds, seed, units, cap, effort)
    search = prepare(model, inputs, more, settings, layout)
    with bars.reporter(progress, "decoys") as report:
        return _collected(search, inputs.detach(), more, report)


def _collected(
    search: Search, inputs: Tensor, extra: Mapping[str, Tensor], report: bars.Report
) -> Decoys:
    """The decoys of all inputs, one input after the other."""
    samples, count = len(inputs), search.count
    found = inputs[:, None].repeat(1, count, *[1] * (inputs.ndim - 1))
    deviation, swing = gradients.single(inputs).new_zeros(2, samples, count)
    for i in range(samples):
        one = {name: value[i : i + 1] for name, value in extra.items()}
        done = i * count
        for part in search.of(inputs[i : i + 1], one):
            found[i, part.which] = part.inputs
            deviation[i, part.which], swing[i, part.which] = part.deviation, part.swing
            done += len(part.which)
            report(done, samples * count)
    plan, settings = search.plan, search.settings
    return Decoys(
        inputs=found,
        masks=plan.cover.to(inputs.device).repeat_interleave(2, 0),
        sign=torch.tensor([1, -1], device=inputs.device).repeat(count // 2),
        deviation=deviation,
        swing=swing,
        moved=(found != inputs[:, None]).flatten(2).any(2),
        layer=search.choice.layer,
        cut=search.choice.cut,
        chosen=search.choice.how,
        epsilon=settings.epsilon,
        units=settings.units,
        joint=plan.joint,
        coverage=plan.coverage,
        corners=tuple(mask.patches for mask in plan.masks for _ in range(2)),
        patch=settings.patch,
    )


def prepare(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
    layout: maps.Layout | None = None,
) -> Search:
    """Find the layer and lay out the masks for inputs like these.

    Raises:
        SurefootError: see `make_decoys`.
    """
    checks.check_model(model)
    checks.check_inputs(inputs)
    low, high = checks.check_bounds(inputs, settings.bounds)
    said = maps.layout_of(inputs, model, layout)
    one = {name: value[:1] for name, value in extra.items()}
    first = inputs[:1].detach()
    choice = choose(model, first, one, settings, said)
    trunk = Trunk(model, choice.layer)
    with torch.no_grad():
        plan = choice.plan or plan_masks(trunk, first, one, settings, said)
    rapid = quick(trunk, first, one)
    plan = replace(plan, seen=seen_places(rapid, first, one, (low, high), said))
    _warn(choice.layer, choice.cut, plan.coverage, settings)
    return Search(trunk, rapid, plan, low, high, settings, choice)


def choose_layer(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
    layout: maps.Layout | None = None,
) -> Name:
    """The name of the layer that is set, or of the default one."""
    one = {name: value[:1] for name, value in extra.items()}
    said = maps.layout_of(inputs, model, layout)
    with torch.no_grad():
        return choose(model, inputs[:1].detach(), one, settings, said).layer


def _warn(layer: Name, cut: bool, coverage: float, settings: Settings) -> None:
    """Say what a certificate at this layer does not speak of."""
    if not cut:
        warnings.warn(
            f"layer {layer!r} is no cut: the network also sees the input past it, so decoys may "
            "look different to what comes after; take layer=None, a layer whose `.cut` is true in "
            "surefoot.decoy.layers(model, inputs), or several that are one together: "
            'layer=("a", "b")',
            SurefootWarning,
            stacklevel=4,
        )
    if coverage < 1 and (settings.stride is None or settings.stride <= settings.patch):
        warnings.warn(
            f"layer {layer!r} does not see all of the input: decoys cover {coverage:.0%} of it, "
            "and the map says nothing elsewhere; choose a layer with full coverage in "
            "surefoot.decoy.layers(model, inputs)",
            SurefootWarning,
            stacklevel=4,
        )
