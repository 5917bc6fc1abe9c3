"""The audit itself: explainers x attacks x metrics over the samples that are right."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from torch import nn

from surefoot.auditing._loader import Masks
from surefoot.auditing._result import AuditResult
from surefoot.auditing._run import run
from surefoot.auditing._settings import METRICS, Settings
from surefoot.explain import Explainer
from surefoot.maps import Layout, Reduction
from surefoot.metric import Metric
from surefoot.progress import Progress


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
    block: int = 64,
    batch_size: int | None = None,
    masks: Masks = None,
    names: Sequence[str] | None = None,
    controls: bool = True,
    draws: int = 5,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: Progress = False,
) -> AuditResult:
    """Whether explanations hold: every explainer under every attack by every metric.

    Only samples that the model classifies correctly are taken, the same ones for all explainers
    and attacks; of several models, those that every one gets right. Each sample's class is what
    is explained. Nothing depends on the batch size or on the other samples.

    The samples are worked on in blocks of consecutive numbers. With `out`, each finished block is
    written at once: a run that was stopped, or killed, goes on where it was when it is called
    again with the same settings and folder; other settings are refused. A sample on which an
    explainer, attack or metric fails has no value there, and the row says why.

    What a metric is given: maps reduced by `reduction`, unscaled, where it takes maps
    (`saliency_fidelity` takes `explain.heatmap`), signed attributions where it asks for those.
    Metrics of one map are taken on the clean input and on each attacked one; those that compare
    two, from clean to attacked; those of an explainer on the clean input only. Beside
    `sensitivity` stand "map_norm", the map's length, because a shrinking map lowers SS by itself,
    and "relative_sensitivity", the sensitivity over that length.
    A k that is not given is that of the attacks, if they have one in common, for metrics that
    compare maps; else the metric's own, or a tenth of the map where that is smaller. A sample for
    which an attack found nothing that keeps the prediction counts as unchanged.

    The controls, which stand in the tables under their names: "random signs" of each attack's
    budget, averaged over draws, the floor that an attack must beat; and the explainer "random
    map", the same for every input and model: perfectly robust, and useless. In place of an
    attack it gets one draw of random signs, since nothing can be searched there.

    The loader is walked twice where it can be: first only to predict and to check every sample,
    so that one that cannot be used fails at once (not with an executor and no `limit`: there, each
    block is checked by its worker). A data set in a DataLoader is read in its own order, also
    where the loader shuffles. A map of a decoy explainer that is attacked is scored with the next
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
        block: consecutive sample numbers that are worked on, and written, as one.
        batch_size: samples of a block that go through together, None takes all of them; it
            bounds memory, not results.
        masks: where the object is, for metrics of localisation: one bool map a sample in the
            data set's order, or the name of the entry of `extra` that holds them.
        names: of the samples, in the data set's order; None takes the data set's file names, if
            it has some.
        controls: whether the controls are added.
        draws: of random signs, averaged.
        seed: of the controls; attacks and explainers have their own.
        about: what else the page is to tell, such as {"command": ...}; nothing depends on it.
        out: folder for the results, see docs/audits.md; None keeps them in memory.
        overwrite: whether results in `out` are replaced.
        executor: any `concurrent.futures.Executor` whose workers see `out` under the same path;
            `surefoot.auditing.Processes(4)` is one for this machine.
        progress: True for a bar, or a callable that gets the units of work done and their number
            (0 while it is not known); with an executor, the blocks.

    Returns:
        An `AuditResult`: `frame()`, `summary()`, `compare(a, b)`, `html(path)`.

    Raises:
        SurefootError: something given cannot be used, said before the work begins: a trial on one
            sample calls every explainer, metric and attack. Or `out` holds another audit, or is
            being written by another process.
        MissingExtraError: pandas, pyarrow or scipy is not installed.

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
        block=block,
        batch_size=batch_size,
        masks=masks,
        names=names,
        controls=controls,
        draws=draws,
        seed=seed,
        about=about,
    )
    return run(settings, model, loader, out, overwrite, executor, progress)
