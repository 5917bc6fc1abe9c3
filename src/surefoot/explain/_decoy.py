"""Decoy-enhanced saliency (DANCE, arXiv 2002.00526): any explainer's range over decoys."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.decoy import (
    Effort,
    Layers,
    Mask,
    Part,
    Search,
    Settings,
    Units,
    choose_layer,
    prepare,
)
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.explain._base import Explainer, as_explainer
from surefoot.explain._explanation import Explanation
from surefoot.explain._several import one_by_one
from surefoot.gradients import Inputs, Query, Target
from surefoot.maps import AnyLayout, Parts
from surefoot.progress import Progress, reporter

Source = Literal["optimised", "constant", "noise", "blur"]
Aggregate = Literal["range", "mean"]


@dataclass(frozen=True, repr=False)
class Decoy(Explainer):
    """The range of an explainer's maps over decoys: max_j E(x~_j) - min_j E(x~_j), place by place.

    Eq. 3 of DANCE (arXiv 2002.00526), on signed attributions, over all decoys of both signs.
    Decoys look the same to the model's `layer`; what their maps disagree on is what the layers
    above make of nothing. The range is never negative, and it is zero for a model that is linear
    where the decoys lie: it says nothing there, and a map of zeros warns so.

    Args:
        base: the explainer that is enhanced, or a callable (model, inputs, target).
        layer: F_l, by module name or module; several, as a tuple, are one representation. None
            takes a cut: a layer that all of the network's information passes.
        patch: side of a patch in pixels, tokens or features (3, as in the paper).
        stride: between patches of all masks together, on one grid; None puts them side by side,
            for images and volumes off a common grid where they can keep apart.
        epsilon: bound on max |F_l(x~) - F_l(x)|, in `units`.
        decoys: at most, for each input; two (both signs) a mask.
        bounds: (low, high), numbers or tensors broadcastable to one input.
        seed: of where patches lie, of the search, and of the noise of source="noise".
        units: "rms" (default, this project's choice) or "absolute" (the paper), see
            `surefoot.decoy.make_decoys`.
        cap: bound on each feature's |x~ - x| (the condition of the paper's Proposition 1).
        effort: of the search, see `surefoot.decoy.make_decoys`.
        include_original: whether the input itself counts among its decoys.
        source: "optimised" decoys (default), or the paper's controls: "constant" moves the
            patches towards the mean of the input, "noise" in random directions, "blur" towards a
            blurred input (images only), each patch by the L1 size of the optimised change.
        aggregate: "range" (default) or, as a control, "mean" over the decoys.
        progress: True for a bar, or a callable that gets the decoys done and their number.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(6, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2)
    ... ).double().eval()
    >>> x = torch.full((1, 6), 0.5).double()
    >>> Decoy(Gradient(), layer="0")(net, x, target=0).shape
    torch.Size([1, 6])
    """

    base: Explainer
    layer: Layers = None
    patch: int = 3
    stride: int | None = None
    epsilon: float = 0.1
    decoys: int = 64
    bounds: checks.Bounds = (0, 1)
    seed: int = 0
    units: Units = "rms"
    cap: float | None = None
    effort: Effort = "auto"
    include_original: bool = False
    source: Source = "optimised"
    aggregate: Aggregate = "range"
    progress: Progress = field(default=False, kw_only=True, repr=False, compare=False)

    def attribute(self, request: Query) -> Tensor:
        return self.attribute_with_details(request, {})

    def explain(
        self,
        model: nn.Module,
        inputs: Inputs,
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
        layout: Any = None,
    ) -> Explanation:
        """Like `Explainer.explain`; the result's recipe names the layer that was taken."""
        request = gradients.query(model, inputs, 0, extra, False, layout, several=True)
        if isinstance(request.layout, Parts):
            return super().explain(model, inputs, target, extra=extra, layout=layout)
        name = choose_layer(
            request.model,
            request.inputs,
            request.extra,
            Settings.of(self),
            request.needed_layout(),
        )
        found = super(Decoy, replace(self, layer=name)).explain(
            model, inputs, target, extra=extra, layout=layout
        )
        by_default = torch.tensor(self.layer is None, device="cpu")
        return replace(found, details={**found.details, "layer_by_default": by_default})

    def attribute_with_details(self, request: Query, details: dict[str, Tensor]) -> Tensor:
        """Like `attribute`; adds what the decoys are and fulfil.

        "low" and "high" (N, ...) are the range's ends, "deviation" and "swing" (N, M) those of
        `surefoot.decoy.Decoys`, "covered" (N, *places) where some decoy may differ, "coverage" the
        share of it, "cut" whether all of the network's information passes the layer. Of several
        inputs each has decoys of its own, in which the others stand still; those have no details.
        """
        if isinstance(request.layout, Parts):
            return one_by_one(self._of_one, request, request.layout)
        search = self._prepare(request)
        tallies = self._tallies(request, search)
        details.update(
            low=torch.stack([tally.low for tally in tallies]),
            high=torch.stack([tally.high for tally in tallies]),
            deviation=torch.stack([tally.deviation for tally in tallies]),
            swing=torch.stack([tally.swing for tally in tallies]),
            coverage=torch.tensor(search.plan.coverage, device="cpu"),
            covered=search.plan.cover.any(0).expand(len(tallies), *search.plan.places),
            cut=torch.tensor(search.choice.cut, device="cpu"),
        )
        return self._checked(torch.stack([tally.result(self.aggregate) for tally in tallies]))

    def _of_one(self, number: int, request: Query) -> Tensor:
        """The map of one of several inputs; each end of the bounds may be one for each."""
        ends = (end[number] if isinstance(end, tuple | list) else end for end in self.bounds)
        low, high = ends
        return replace(self, bounds=(low, high)).attribute(request)

    def offsets(
        self,
        model: nn.Module,
        inputs: Tensor,
        *,
        extra: Mapping[str, Tensor] | None = None,
        layout: AnyLayout | None = None,
    ) -> Tensor:
        """The decoys minus the inputs, (N, M, ...), as an adaptive attack holds them fixed.

        Arguments and errors are those of `surefoot.decoy.make_decoys`.
        """
        request = gradients.query(model, inputs, 0, extra, False, layout)
        search = self._prepare(request)
        found = inputs.new_zeros(len(inputs), search.count, *inputs.shape[1:])
        for i in _each(request):
            one = request.take(slice(i, i + 1))
            for part in search.of(one.inputs, one.extra):
                found[i, part.which] = self._moves(part, one.inputs, search)
        return found

    def at_offsets(
        self,
        model: nn.Module,
        inputs: Tensor,
        offsets: Tensor,
        target: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
        create_graph: bool | None = None,
        layout: AnyLayout | None = None,
    ) -> Tensor:
        """The decoy map over `inputs + offsets`, with offsets given and held fixed.

        What an adaptive attack differentiates. Nothing is clipped to the bounds.

        Args:
            model: see calling the explainer; so are `inputs`, `target`, `extra`, `create_graph`.
            inputs: (N, ...).
            offsets: (N, M, ...), such as `offsets` gives, or a part of them.
            target: class index, (N,) or None.
            extra: further keyword inputs of the model.
            create_graph: whether the result can be differentiated.
            layout: what the axes of `inputs` mean.

        Returns:
            Attributions (N, ...).
        """
        if offsets.shape[:1] + offsets.shape[2:] != inputs.shape or not offsets.shape[1]:
            raise SurefootError(
                f"offsets have shape {tuple(offsets.shape)}, expected (N, M, ...) for inputs "
                f"{tuple(inputs.shape)}"
            )
        request = gradients.query(model, inputs, target, extra, create_graph, layout)
        results = []
        for i in _each(request):
            tally = _Tally()
            self._add(tally, request.take(slice(i, i + 1)), offsets[i])
            results.append(tally.result(self.aggregate))
        return torch.stack(results)

    def _prepare(self, request: Query) -> Search:
        for value, choices in ((self.source, Source), (self.aggregate, Aggregate)):
            if value not in get_args(choices):
                raise SurefootError(f"{value!r} is unknown; choose one of {get_args(choices)}")
        if self.source == "blur" and request.inputs.ndim != 4:
            raise SurefootError('source="blur" needs images (N, C, H, W); use "noise"')
        inputs = request.inputs.detach()
        return prepare(
            request.model, inputs, request.extra, Settings.of(self), request.needed_layout()
        )

    def _tallies(self, request: Query, search: Search) -> "list[_Tally]":
        """One for each sample, telling `progress` of the decoys that are made and explained."""
        total = len(request.inputs) * search.count
        with reporter(self.progress, "decoys") as report:

            def told(before: int, done: int) -> None:
                report(before + done, total)

            return [
                self._tally(request.take(slice(i, i + 1)), search, partial(told, i * search.count))
                for i in _each(request)
            ]

    def _tally(self, one: Query, search: Search, report: Callable[[int], None]) -> "_Tally":
        tally, done = _Tally(), 0
        if self.include_original:
            self._add(tally, one, torch.zeros_like(one.inputs))
        for part in search.of(one.inputs, one.extra):
            self._add(tally, one, self._moves(part, one.inputs, search))
            tally.note(part, search.count)
            done += len(part.which)
            report(done)
        return tally

    def _add(self, tally: "_Tally", one: Query, offsets: Tensor) -> None:
        """Count the maps of one input moved by offsets (R, ...) in."""
        rows = one.expand(one.inputs[:, None] + offsets[None])
        tally.add(as_explainer(self.base).attribute(rows))

    def _moves(self, part: Part, sample: Tensor, search: Search) -> Tensor:
        """Offsets (R, ...) of the chosen source, from the optimised ones."""
        sample = sample.detach()
        best = part.inputs - sample
        if self.source == "optimised":
            return best
        moves = [
            _resized(self._direction(int(k), sample), move, search.plan.masks[int(k) // 2])
            for k, move in zip(part.which, best, strict=True)
        ]
        return (sample + torch.stack(moves)).clamp(search.low, search.high) - sample

    def _direction(self, number: int, sample: Tensor) -> Tensor:
        """Where decoy `number` of a control source would go, shaped like one input."""
        if self.source == "noise":
            return draws.normal(self.seed, slice(number, number + 1), sample)[0]
        if self.source == "constant":
            axes = tuple(range(2, sample.ndim)) if sample.ndim == 4 else (1,)
            return (sample.mean(axes, keepdim=True) - sample)[0]
        return (_blurred(sample) - sample)[0]

    def _checked(self, maps: Tensor) -> Tensor:
        if self.aggregate == "range" and not maps.flatten(1).any(1).all():
            score = getattr(self.base, "score", "logit")
            warnings.warn(
                f"a decoy map is zero everywhere: score {score!r} is linear in the inputs around "
                f"the decoys at layer {self.layer!r}, and a range over decoys says nothing about "
                'a linear model; try score="probability", a larger epsilon or an earlier layer',
                SurefootWarning,
                stacklevel=5,
            )
        return maps


class _Tally:
    """Running minimum, maximum and sum over decoys, and the decoys' certificates."""

    def __init__(self) -> None:
        self.low = self.high = self.total = torch.empty(0, device="cpu")
        self.deviation = self.swing = torch.empty(0, device="cpu")
        self.count = 0

    def add(self, maps: Tensor) -> None:
        low, high, total = maps.amin(0), maps.amax(0), maps.sum(0)
        if self.count:
            low, high = torch.minimum(self.low, low), torch.maximum(self.high, high)
            total = self.total + total
        self.low, self.high, self.total = low, high, total
        self.count += len(maps)

    def note(self, part: Part, count: int) -> None:
        if not len(self.deviation):
            self.deviation, self.swing = part.deviation.new_zeros(2, count)
        self.deviation[part.which], self.swing[part.which] = part.deviation, part.swing

    def result(self, aggregate: Aggregate) -> Tensor:
        return self.high - self.low if aggregate == "range" else self.total / self.count


def _each(request: Query) -> range:
    return range(len(request.inputs))


def _resized(direction: Tensor, move: Tensor, mask: Mask) -> Tensor:
    """`direction` inside the mask, each block scaled to the L1 size that `move` has there."""
    index = mask.features.to(move.device)
    wide, moved = (torch.nn.functional.pad(t.flatten(), (0, 1)) for t in (direction, move))
    inside = wide[index]
    size = moved[index].abs().sum(1, keepdim=True)
    result = torch.zeros_like(moved)
    result[index] = inside * size / inside.abs().sum(1, keepdim=True).clamp_min(1e-12)
    return result[:-1].view_as(move)


def _blurred(sample: Tensor, sigma: float = 5.0) -> Tensor:
    """The image under a Gaussian of `sigma` pixels, edges repeated."""
    reach = min(int(3 * sigma), min(sample.shape[2:]) - 1)
    taps = torch.exp(
        -0.5 * (torch.arange(-reach, reach + 1, device=sample.device).to(sample) / sigma) ** 2
    )
    taps = (taps / taps.sum()).expand(sample.shape[1], 1, -1)
    for axis, kernel in ((2, taps[..., None]), (3, taps[..., None, :])):
        pad = [reach, reach, 0, 0] if axis == 3 else [0, 0, reach, reach]
        padded = torch.nn.functional.pad(sample, pad, mode="replicate")
        sample = torch.nn.functional.conv2d(padded, kernel, groups=sample.shape[1])
    return sample
