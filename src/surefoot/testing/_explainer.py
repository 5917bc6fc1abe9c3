"""The checks of an explainer's contract."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.copies import copied
from surefoot.explain import Explainer, as_explainer
from surefoot.gradients import Query, Score
from surefoot.maps import Layout
from surefoot.metric import spearman
from surefoot.testing._derivative import differentiability
from surefoot.testing._report import Check, Report, limited

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
_LOW_PRECISION = 5e-2
_COMPLETE = 0.05
_ALIKE = 0.95
_SHUFFLES = 3


def check_explainer(
    explainer: Explainer | Callable[..., Tensor],
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target = None,
    *,
    extra: Mapping[str, Tensor] | None = None,
    layout: Layout | None = None,
) -> Report:
    """Measure whether an explainer keeps the library's contract, on a model and inputs.

    - completeness: |sum of the map - change of the score from a baseline|, over the sum's size.
      Explainers with a `completeness_gap` claim it and must hold it (their own baseline); for
      others it is reported against the zero input.
    - batch invariance: largest change of the map when samples are explained one by one, or in
      another order, over the largest entry.
    - determinism: the same, between two calls. The global random state differs between them.
    - differentiability: with `create_graph`, in float64, the derivative along a random direction
      of inputs and parameters against central differences. A refusal (SurefootError) passes; a
      map without a graph does not.
    - randomisation: Spearman correlation of absolute maps between the model and copies with each
      parameter's entries shuffled (after Adebayo et al., arXiv 1810.03292), over the places
      where either is not 0, mean over samples and copies. Near 1 means that the map ignores the
      model.

    The thresholds are this project's choice. Model and global random state are left alone.

    Args:
        explainer: an explainer, or a callable (model, inputs, target) -> attributions.
        model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
        inputs: floating point, (N, ...).
        target: class index, one for each sample, or None for the predicted class.
        extra: further keyword inputs of the model, each with leading dimension N.
        layout: what the axes of the inputs mean, where it can be mistaken.

    Raises:
        SurefootError: what calling the explainer raises.

    >>> from surefoot.explain import Gradient
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 2)).eval()
    >>> check_explainer(Gradient(), model, torch.rand(3, 4)).passed
    True
    """
    explainer = as_explainer(explainer)
    checks.check_inputs(inputs)
    request = gradients.query(model, inputs.detach(), target, extra, False, layout)
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
        maps = _maps(explainer, request)
        found = (
            _completeness(explainer, request, maps),
            _batch_invariance(explainer, request, maps),
            _determinism(explainer, request, maps),
            differentiability(explainer, request),
            _randomisation(explainer, request, maps),
        )
    return Report(explainer, found)


def _maps(explainer: Explainer, request: Query) -> Tensor:
    return explainer(
        request.model,
        request.inputs,
        request.target,
        extra=request.extra,
        create_graph=False,
        layout=request.layout,
    )


def _difference(one: Tensor, other: Tensor) -> float:
    size = torch.maximum(one.abs().max(), other.abs().max())
    return float((one - other).abs().max() / size) if size > 0 else 0.0


def _completeness(explainer: Explainer, request: Query, maps: Tensor) -> Check:
    totals = maps.flatten(1).sum(1)
    measure: Any = getattr(explainer, "completeness_gap", None)
    if measure is not None:
        gap = measure(request.model, request.inputs, request.target, extra=request.extra)
        note = "gap between the map's sum and the score's change, which this method promises"
        return limited("completeness", _relative(gap, totals), _COMPLETE, note)
    gap = totals - (_scores(explainer, request) - _scores(explainer, request, zero=True))
    note = "sum of the map against the score's change from zero; not promised"
    return Check("completeness", _relative(gap, totals), None, True, note)


def _relative(gap: Tensor, totals: Tensor) -> float:
    size = float(totals.abs().max())
    return float(gap.abs().max()) / size if size > 0 else float(gap.abs().max())


def _scores(explainer: Explainer, request: Query, *, zero: bool = False) -> Tensor:
    inputs = torch.zeros_like(request.inputs) if zero else request.inputs
    logits = gradients.predict(request.model, inputs, request.extra)
    return gradients.class_scores(logits, request.target, _score(explainer))


def _score(explainer: object) -> Score:
    if isinstance(base := getattr(explainer, "base", None), Explainer):
        return _score(base)
    score: Score = getattr(explainer, "score", "logit")
    return score


def _batch_invariance(explainer: Explainer, request: Query, maps: Tensor) -> Check:
    count = len(request.inputs)
    if count == 1:
        # A stranger in the batch, made of the same values.
        stranger = request.inputs.roll(1, -1)
        request = request.expand(torch.stack([request.inputs[0], stranger[0]])[None])
        maps = torch.cat([maps, _maps(explainer, request.take(slice(1, 2)))])
    rows = range(len(request.inputs))
    alone = [_maps(explainer, request.take(slice(row, row + 1))) for row in rows]
    turned = _maps(explainer, _reordered(request)).flip(0)
    value = max(_difference(maps, torch.cat(alone)), _difference(maps, turned))
    note = "change of the map with the rest of the batch and its order"
    return limited("batch invariance", value, _tolerance(request.inputs), note)


def _reordered(request: Query) -> Query:
    extra = {name: value.flip(0) for name, value in request.extra.items()}
    inputs, target = request.inputs.flip(0), request.target.flip(0)
    return Query(request.model, inputs, target, extra, layout=request.layout)


def _tolerance(inputs: Tensor) -> float:
    return _TOLERANCE.get(inputs.dtype, _LOW_PRECISION)


def _determinism(explainer: Explainer, request: Query, maps: Tensor) -> Check:
    torch.rand(1)
    value = _difference(maps, _maps(explainer, request))
    # Accelerators add in no fixed order.
    limit = _tolerance(request.inputs) if request.inputs.device.type != "cpu" else 0.0
    return limited("determinism", value, limit, "change of the map from call to call")


def _randomisation(explainer: Explainer, request: Query, maps: Tensor) -> Check:
    alike = []
    for number in range(_SHUFFLES):
        model, other = copied((request.model, explainer), request.model)
        _shuffle(model, number)
        changed = _maps(other, replace(request, model=model))
        alike += [_alike(a, b) for a, b in zip(maps.abs(), changed.abs(), strict=True)]
    value = sum(alike) / len(alike)
    note = "rank correlation with maps of models with shuffled parameters"
    return limited("randomisation", value, _ALIKE, note)


def _alike(one: Tensor, other: Tensor) -> float:
    """Rank correlation of two maps of a sample, over the places where they are not both 0."""
    # Masked places would else look like agreement. Constant maps have no ranks: they show
    # nothing of the model either.
    seen = (one != 0) | (other != 0)
    if not seen.any():
        return 1.0
    return float(spearman(one[seen][None], other[seen][None]).nan_to_num(nan=1.0))


@torch.no_grad()
def _shuffle(model: nn.Module, number: int) -> None:
    source = draws.generator(1, number)
    for parameter in model.parameters():
        order = torch.randperm(parameter.numel(), generator=source).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
