"""What may make a strong attack look weak: said as warnings, as AutoAttack says its own."""

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.attack import _second_order as second
from surefoot.attack._agreement import check_second_order
from surefoot.attack._beta import has_kinks
from surefoot.attack._case import Case, explained
from surefoot.attack._ensemble_found import Found
from surefoot.attack._views import Moment, Objective, exact
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.explain import Decoy, Explainer
from surefoot.gradients import Query
from surefoot.maps import Reduction

_GENTLE = 3.0
_DIFFERENCES = (1e-4, 1e-3)
_BOTH = ("finite", "exact")
_FINE = 1e-4  # the precision below which differences say nothing
_APART = 0.1  # of two slopes, in units of the larger: a cut graph gives 0.2 to 1, rounding 1e-4


def has_slope(case: Case) -> bool:
    """Whether the explainer's map can be differentiated at all; one sample is tried."""
    if second.has_finite(case.explainer):
        return True
    one = replace(case.request.take(slice(0, 1)), create_graph=True)
    try:
        with torch.enable_grad():
            one = replace(one, inputs=one.inputs.detach().requires_grad_())
            return bool(case.explainer.attribute(one).requires_grad)
    except SurefootError:
        return False


def check_maps(case: Case, clean: Tensor) -> bool:
    """Warn of maps that are constant, and of an explainer that draws anew each time.

    Returns:
        Whether the same input gets the same map.
    """
    flat = clean.flatten(1)
    empty = int((flat.amax(1) == flat.amin(1)).sum())
    if empty:
        _warn(
            f"{empty} of {len(flat)} clean maps are zero or constant, so that their places have no "
            "order to attack; scores of these samples mean nothing"
        )
    same = torch.equal(explained(case.explainer, case.request), case.maps)
    if not same:
        _warn(
            f"{case.explainer!r} gives the same input different maps: it is attacked in "
            "expectation, one draw a step, and scores hold chance; fix its seed, or average more "
            "draws"
        )
    return same


def check_slope(case: Case, k: int, reduction: Reduction) -> None:
    """Warn where a map has no slope, or where differences alone see one.

    On the first sample and the same surrogate, a little off the input: some objectives are
    stationary there, and where neighbouring pixels are equal maximum pooling has no slope.
    """
    one = _jittered(case.request.take(slice(0, 1)))
    explainer = case.explainer
    if isinstance(explainer, Decoy):
        explainer = second.base_of(explainer)
    if not second.has_finite(explainer):
        if torch.finfo(one.inputs.dtype).eps < _FINE:
            _check_exact(explainer, one)
        return
    # A gentle surrogate: where curvature is sharp, single precision cannot take differences.
    beta = _GENTLE if has_kinks(one.model, one) else None
    found = [
        check_second_order(
            one.model,
            one.inputs,
            one.target,
            explainer,
            k=k,
            reduction=reduction,
            beta=beta,
            difference=difference,
            extra=one.extra,
        )
        for difference in _DIFFERENCES
    ]
    differ, exactly = (any(getattr(one, name).any() for one in found) for name in _BOTH)
    if not differ and not exactly:
        _warn_flat()
    elif not exactly:
        # Short of that the two may differ: maximum pooling has kinks that differences see.
        _warn_hidden(
            "zero and by finite differences it is not",
            "Finite differences are taken here; an attack by double backward would find nothing",
        )


def _check_exact(explainer: Explainer, one: Query) -> None:
    """Double backward beside differences, of a random sum of the map on a gentle surrogate."""
    first = torch.arange(len(one.inputs), device=one.inputs.device)
    beta = _GENTLE if has_kinks(one.model, one) else None
    moment = Moment(one, first, 0, beta, _DIFFERENCES[0])
    weights, *ways = _signs(one.inputs)

    def value(maps: Tensor, _which: Tensor) -> Tensor:
        return (maps * weights).flatten(1).sum(1)

    def map_at(points: Tensor) -> Tensor:
        return explainer.attribute(replace(moment.curved, inputs=points, create_graph=False))

    slope = exact(lambda asked, _: explainer.attribute(asked), moment, value, 1)
    if not slope.any():
        _warn_flat()
        return
    ways = [slope / slope.square().mean().sqrt(), *ways]
    told = torch.stack([(slope * way).sum() for way in ways])
    apart = []
    for step in _DIFFERENCES:
        pairs = [(map_at(one.inputs + step * way), map_at(one.inputs - step * way)) for way in ways]
        seen = torch.stack([value(a - b, first)[0] / (2 * step) for a, b in pairs])
        apart.append(float((seen - told).norm() / seen.norm().maximum(told.norm())))
    if min(apart) > _APART:
        _warn_hidden(
            "another than by differences of the map",
            "An attack through it climbs the wrong way and leaves too much",
        )


def _signs(like: Tensor) -> list[Tensor]:
    """A few random directions, (n, ...)."""
    source = torch.Generator().manual_seed(1)
    each = [torch.rand(like.shape, generator=source) < 0.5 for _ in range(4)]
    return [torch.where(up, 1.0, -1.0).to(like) for up in each]


def _warn_hidden(how: str, so: str) -> None:
    _warn(
        f"the slope of the map by double backward is {how}, so that the two disagree: the model or "
        "explainer hides its second derivative (a part that is detached, a map made without "
        f"create_graph, a custom backward pass). {so}: that would prove nothing"
    )


def _jittered(request: Query) -> Query:
    source = torch.Generator().manual_seed(0)
    away = torch.randn(request.inputs.shape, generator=source).to(request.inputs)
    return replace(request, inputs=request.inputs + 0.01 * away)


def check_decoys(best: Found, transferred: Tensor, enough: float) -> None:
    """Warn where attacking the decoy map itself found no more, (N,), than its base map's attack.

    Not where that left nothing to find.
    """
    if (transferred < enough).any() and not (best.most > transferred).any():
        _warn(
            "the adaptive attack on the decoy map found nothing beyond what the attack on its base "
            "map found: the decoy map may be harder to attack than it is stable; attack with more "
            "steps or subset=None"
        )


def gaps(case: Case, damage: Objective, best: Found, halvings: int) -> None:
    """Look between each sample's best iterate and the worst that lost its prediction."""
    which = (best.lost_damage > best.most).nonzero()[:, 0]
    if not len(which):
        return
    kept, lost = best.points[which], best.lost[which]
    asked = case.request.take(which)
    for _ in range(halvings):
        middle = (kept + lost) / 2
        there = replace(asked, inputs=middle)
        logits = gradients.predict(there.model, middle, there.extra)
        held = logits.argmax(1) == case.labels[which]
        best.note(which, middle, damage(explained(case.explainer, there), which), held)
        wide = held.view(-1, *[1] * (middle.ndim - 1))
        kept, lost = torch.where(wide, middle, kept), torch.where(wide, lost, middle)


def _warn_flat() -> None:
    _warn(
        "the map has no gradient at the inputs, on a smooth surrogate either: it does not change "
        "with them, or its change is hidden (a part that is detached or rounded). That no attack "
        "moves it proves nothing"
    )


def _warn(text: str) -> None:
    warnings.warn(text, SurefootWarning, stacklevel=2)
