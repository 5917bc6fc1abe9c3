"""The audit itself: explainers x attacks x metrics over the samples that are right."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from surefoot.auditing import _store, _tables
from surefoot.auditing._batches import Source, Tally
from surefoot.auditing._loader import Batch
from surefoot.auditing._plan import Plan
from surefoot.auditing._rehearsal import rehearse
from surefoot.auditing._result import AuditResult
from surefoot.auditing._settings import Settings
from surefoot.auditing._unit import Rows, measure
from surefoot.explain import Explainer
from surefoot.maps import Layout, Reduction
from surefoot.metric import Metric
from surefoot.progress import Progress, Report, reporter

METRICS = ("topk_intersection", "spearman", "sensitivity", "gini")


def audit(
    model: nn.Module | Mapping[str, nn.Module],
    loader: Any,
    *,
    explainers: Mapping[str, Explainer] | Sequence[Explainer],
    attacks: Mapping[str, Any] | Sequence[Any] | None = None,
    metrics: Mapping[str, Any] | Sequence[str | Metric | Any] = METRICS,
    reduction: Reduction = "sum_abs",
    layout: Layout | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    masks: str | Tensor | None = None,
    controls: bool = True,
    draws: int = 5,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = False,
) -> AuditResult:
    """Whether explanations hold: every explainer under every attack by every metric.

    Only samples that the model classifies correctly are taken, the same ones for all explainers
    and attacks; of several models, those that every one gets right. Each sample's class is what
    is explained. Nothing depends on the batch size or on the other samples.

    What a metric is given: maps reduced by `reduction`, unscaled, where it takes maps
    (`saliency_fidelity` takes `explain.heatmap`), signed attributions where it asks for those.
    Metrics of one map are taken on the clean input and on each attacked one; those that compare
    two, from clean to attacked; those of an explainer on the clean input only. Beside
    `sensitivity` stands "map_norm", the map's length, because a shrinking map lowers SS by itself.
    A k that is not given is that of the attacks, if they have one in common, for metrics that
    compare maps; else the metric's own, or a tenth of the map where that is smaller. A sample for
    which an attack found nothing that keeps the prediction counts as unchanged.

    The controls, which stand in the tables under their names: "random signs" of each attack's
    budget, averaged over draws, the floor that an attack must beat; and the explainer "random
    map", the same for every input and model: perfectly robust, and useless. In place of an
    attack it gets one draw of random signs, since nothing can be searched there.

    The loader is walked twice where it can be: first only to predict and to check every sample,
    so that one that cannot be used fails at once. Give shuffle=False if sample numbers are to be
    those of the data set. A map of a decoy explainer that is attacked is scored with the next
    seed; on clean inputs it is as given.

    Args:
        model: module from inputs (N, ...) to logits (N, K), in evaluation mode; or several by
            name. Batches are moved to each model's device.
        loader: an iterable of (inputs, labels) or (inputs, labels, extra) batches, such as a
            DataLoader, or one such pair of tensors; inputs (N, ...) inside the attacks' bounds,
            labels (N,), extra a mapping of further inputs of the model.
        explainers: by name; or a list, named by their recipes.
        attacks: attacks on explanations, by name or as a list; one with several budgets becomes
            several. None or empty measures clean maps alone.
        metrics: names (`metric.names()`), `metric.get(name, **options)`, or callables whose
            parameters are named as in `Metric.needs`; a mapping gives names of one's own.
        reduction: of attributions to maps; attacks must have the same.
        layout: what the axes of the inputs mean, where three axes leave it open and the model
            does not say, see `surefoot.models.Classifier`.
        limit: number of samples to take; None takes all that are right.
        batch_size: samples that go through together; it bounds memory, not results.
        masks: where the object is, for metrics of localisation: one bool map a sample in the
            loader's order, or the name of the entry of `extra` that holds them.
        controls: whether the controls are added.
        draws: of random signs, averaged.
        seed: of the controls; attacks and explainers have their own.
        out: folder for `audit.json`, `samples.csv` and `summary.csv`, written at the end.
        overwrite: whether results in `out` may be replaced.
        progress: True for a bar, or a callable that gets the units of work done and their number
            (0 while it is not known).

    Returns:
        An `AuditResult`: `frame()`, `summary()`, `compare(a, b)`, `save(folder)`.

    Raises:
        SurefootError: something given cannot be used, said before the work begins: a trial on one
            sample calls every explainer, metric and attack.
        MissingExtraError: pandas or scipy is not installed.

    >>> import surefoot
    >>> import torch
    >>> from surefoot import attack, explain
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    >>> inputs = torch.rand(20, 6)
    >>> result = surefoot.audit(
    ...     net,
    ...     (inputs, net(inputs).argmax(1)),
    ...     explainers={"gradient": explain.Gradient(), "ixg": explain.InputXGradient()},
    ...     attacks={"topk": attack.TopK(attack.Linf(0.3, steps=10), k=2)},
    ...     metrics=["spearman", "gini"],
    ... )
    >>> table = result.summary().set_index(["explainer", "attack", "metric"])
    >>> row = table.loc["gradient", "topk", "spearman"]
    >>> bool(row["low"] <= row["mean"] <= row["high"] < row["floor"] < row["ceiling"])
    True
    >>> against = result.compare("topk")  # its control, random signs
    >>> against = against.set_index(["explainer", "metric"])
    >>> bool(against.loc[("gradient", "spearman"), "worse"] > 0.5)
    True
    """
    settings = Settings(
        explainers=explainers,
        attacks=attacks,
        metrics=metrics,
        reduction=reduction,
        layout=layout,
        limit=limit,
        batch_size=batch_size,
        masks=masks,
        controls=controls,
        draws=draws,
        seed=seed,
    )
    plan = settings.plan(model)
    if out is not None:
        _store.prepare(out, overwrite)
    result = _run(settings, plan, settings.source(loader, plan), progress)
    if out is not None:
        result.save(out, overwrite=overwrite)
    return result


def _run(settings: Settings, plan: Plan, source: Source, progress: Progress) -> AuditResult:
    """The numbers of all samples, and what they came from."""
    tally = Tally()
    first, batches, number = _survey(source, tally)
    plan = rehearse(plan, first)
    with reporter(progress, "audit") as report:
        records = _tables.records(_measured(plan, batches, number, report))
    return AuditResult(records, settings.facts(plan, tally))


def _survey(source: Source, tally: Tally) -> tuple[Batch, Iterable[Batch], int]:
    """The first batch, all of them, and their number: 0 where the loader cannot be walked twice.

    Walking counts into `tally`.
    """
    if source.once():
        stream = source.batches(tally)
        first = next(stream)
        return first, chain([first], stream), 0
    survey = source.batches(Tally())
    first = next(survey)
    return first, source.batches(tally), 1 + sum(1 for _ in survey)


def _measured(plan: Plan, batches: Iterable[Batch], number: int, report: Report) -> Iterator[Rows]:
    """Every unit of every batch."""
    units = list(plan.units())
    done = 0
    for batch in batches:
        for unit in units:
            yield measure(unit, batch)
            done += 1
            report(done, number * len(units))
