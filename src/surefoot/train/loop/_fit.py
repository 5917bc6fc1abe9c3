"""`fit`: train a model with an objective, resumable to the bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from surefoot import checks, gradients
from surefoot.checks import check_whole
from surefoot.errors import SurefootError, optional
from surefoot.train._base import Objective
from surefoot.train._batch import dropped
from surefoot.train._mode import eval_mode
from surefoot.train._tokens import embedded
from surefoot.train.loop._batches import Without, check_data, spread
from surefoot.train.loop._fetch import fetch
from surefoot.train.loop._identity import identity
from surefoot.train.loop._logs import Log, Progress
from surefoot.train.loop._plan import Loop
from surefoot.train.loop._run import Run
from surefoot.train.loop._seeds import Stream, number
from surefoot.train.loop._session import Session
from surefoot.train.loop._trained import Trained
from surefoot.train.loop._validation import Validation
from surefoot.train.loop._watch import Watch
from surefoot.undo import draws_kept

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_SPLITTING = ("FSDP", "DeepSpeed", "ModelParallel", "DataParallel")


def fit(
    model: nn.Module,
    objective: Objective,
    data: Any,
    loop: Loop,
    *,
    held_out: Any = None,
    validation: Validation | None = None,
    validate_every: int | None = None,
    validate_epochs: int | None = None,
    checkpoint_every: int | None = None,
    log_every: int = 10,
    best_by: str | None = "accuracy",
    out: str | Path | None = None,
    resume: bool | Literal["longer"] = False,
    logs: tuple[Log, ...] = ("csv",),
    progress: Progress = False,
    workers: int = 0,
    fabric: "Fabric | None" = None,
    binding: Mapping[str, Any] | None = None,
) -> Trained:
    """Train `model` in place.

    A run that was interrupted anywhere, by SIGKILL, too, and resumed ends with the same weights,
    to the bit on a CPU, as one that was not: batches, draws and transforms depend on the seed and
    the step, and everything else is in the checkpoints.

    In several processes each takes an equal share of every batch, and gradients are averaged over
    them. An objective without random draws then gives the weights of one process, but for
    rounding; random draws differ between processes. Batch norm sees one process's share of a batch
    at a time, as with gradient accumulation; its running statistics are averaged over them.

    An interrupt (Ctrl-C) waits for the end of a step; a checkpoint of it is written, and the
    message tells where the run can go on. So it does where a sample of the data cannot be used.
    No two runs write to one folder at a time. Submodules that are in evaluation mode in a model
    in training mode stay there, as do batch norms whose parameters are frozen.

    Args:
        model: module from inputs (N, ...) to logits (N, K); it comes back in evaluation mode. For
            data of tokens a `models.Classifier` with `embedding`, whose embedding is trained, too.
        objective: the loss, such as `train.SCAAT()`.
        data: a map-style data set of (input, label) or (input, label, extra), extra a dict of the
            model's further inputs.
        loop: steps, batch, optimizer, seed: all that the weights depend on.
        held_out: another data set, to validate on.
        validation: what is measured on it; None takes `Validation()`.
        validate_every: steps between validations. The last step is always validated.
        validate_epochs: passes over the data between validations, instead; None for both is
            every pass.
        checkpoint_every: steps between checkpoints; None is once a pass over the data. There is
            one at every validation and at the end, too. The last and the best are kept, and
            the one before the last until a step from the last has given a finite loss.
        log_every: steps between two lines of the logs.
        best_by: the figure whose highest value makes a checkpoint the best; None for no best one,
            as where the figures are of a test set, on which nothing may be chosen.
        out: folder for weights, checkpoints and logs; None writes nothing.
        resume: go on from the last good checkpoint in `out`, if there is one; "longer" where
            `loop` has more steps than the run was begun with.
        logs: "csv", "tensorboard" or both.
        progress: True for a bar, or a callable that gets the steps done, their number and the
            terms of the loss where they were looked at.
        workers: processes that load data.
        fabric: a launched lightning_fabric.Fabric, for devices, strategies and precisions; None
            trains in this process where the model is.
        binding: what else must be the same for a run to be resumed, such as the name of the
            model's variant; plain values by name. Objective, loop, shapes of the weights, and of
            the data name, size, classes, augmentation and a few samples always must.

    Returns:
        A `Trained`.

    Raises:
        NonFiniteLossError: the loss, its gradient or the weights are NaN or infinite; the message
            names the term, the step and the last good checkpoint, where a resumed run begins.
        SurefootError: data that are empty or do not fit the model, settings out of range, a
            strategy that shards parameters, a folder of another run, a checkpoint of another
            model, other data or other settings, a file that cannot be written.

    >>> from surefoot.train import Natural
    >>> _ = torch.manual_seed(0)
    >>> inputs = torch.rand(64, 2)
    >>> data = torch.utils.data.TensorDataset(inputs, (inputs[:, 0] > inputs[:, 1]).long())
    >>> loop = Loop(steps=100, batch=32, optimizer="SGD(lr=1)")
    >>> trained = fit(nn.Linear(2, 2), Natural(), data, loop, held_out=data)
    >>> trained.steps, trained.figures["accuracy"] > 0.9
    (100, True)
    """
    _check_given(model, objective, data, loop)
    fabric = _fabric(model) if fabric is None else fabric
    _check_strategy(fabric)
    loop.check(len(data), fabric.world_size)
    watch = Watch(
        held_out=_held_out(held_out, data, objective),
        validation=Validation() if validation is None else validation,
        validate_every=_steps_of(validate_epochs, validate_every, loop, len(data)),
        checkpoint_every=loop.once(len(data)) if checkpoint_every is None else checkpoint_every,
        log_every=log_every,
        best_by=best_by,
        out=None if out is None else Path(out),
        resume=resume,
        logs=logs,
        progress=progress,
        workers=workers,
    )
    watch.check()
    return _trained(fabric, model, objective, data, loop, watch, binding)


def _trained(
    fabric: "Fabric",
    model: nn.Module,
    objective: Objective,
    data: Any,
    loop: Loop,
    watch: Watch,
    binding: Mapping[str, Any] | None,
) -> Trained:
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with draws_kept(devices, number(loop.seed, Stream.MODEL, fabric.global_rank)):
        run = Run(fabric, model, objective, loop, loop.length(len(data)))
        _check_classes(run, data)
        return Session(run, watch, data, identity(data, model, binding)).train()


def _held_out(held_out: Any, data: Any, objective: Objective) -> Any:
    """The held-out data, checked, without what is the objective's alone."""
    if held_out is None:
        return None
    check_data(held_out, "the held-out data")
    _check_same_classes(data, held_out)
    own = objective.own_extra()
    return Without(held_out, own) if own else held_out


def _steps_of(epochs: int | None, steps: int | None, loop: Loop, samples: int) -> int:
    """The steps between two validations; one pass over the data where neither is given."""
    if epochs is not None and steps is not None:
        raise SurefootError(
            f"validate_every={steps}, validate_epochs={epochs}: expected one of them (in a "
            "configuration null for the other)"
        )
    if epochs is not None:
        check_whole("validate_epochs", epochs, 1)
    return loop.once(samples) * (epochs or 1) if steps is None else steps


def _check_given(model: object, objective: object, data: Any, loop: object) -> None:
    wanted = {"model": nn.Module, "objective": Objective, "loop": Loop}
    for (name, kind), value in zip(wanted.items(), (model, objective, loop), strict=True):
        if not isinstance(value, kind):
            raise SurefootError(f"{name} is a {type(value).__name__}, expected a {kind.__name__}")
    check_data(data)


def _fabric(model: nn.Module) -> "Fabric":
    """One process, on the device of the model."""
    package = optional("lightning_fabric", "train")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = 1 if device.index is None or device.type == "cpu" else [device.index]
    fabric: Fabric = package.Fabric(accelerator=device.type, devices=devices)
    fabric.launch()
    return fabric


def _check_strategy(fabric: "Fabric") -> None:
    """Raise for strategies that split a model or a batch behind the objective's back."""
    name = type(fabric.strategy).__name__
    if any(word in name for word in _SPLITTING):
        raise SurefootError(
            f"{name} cuts the model or the batch in parts, and objectives differentiate the whole "
            "model by its inputs; use one device, or strategy='ddp' for several"
        )


def _check_same_classes(data: Any, held_out: Any) -> None:
    """Raise where both tell their classes and these differ, in number, name or order."""
    ours, theirs = (getattr(one, "classes", None) for one in (data, held_out))
    if ours is None or theirs is None or list(ours) == list(theirs):
        return
    if len(ours) != len(theirs):
        what = f"{len(theirs)} classes, the training data {len(ours)}"
    else:
        place = next(n for n, kind in enumerate(ours) if kind != theirs[n])
        what = f"{theirs[place]!r} as class {place}, the training data {ours[place]!r}"
    raise SurefootError(
        f"the held-out data have {what}; expected the same classes in the same order, for a label "
        "is a place among them"
    )


def _check_classes(run: Run, data: Any) -> None:
    """Raise where the model does not take the data, or has not as many logits as classes.

    It is also the model's first pass, in evaluation mode, so that what `gradients` learns about
    its memory layout is known before the first step, in a resumed run as in any other.
    """
    first = run.fabric.to_device(fetch(data, spread(data, 2)))
    with eval_mode(run.seen):
        inputs = embedded(run.seen, first.inputs).detach()
    checks.check_inputs(inputs)
    extra = dropped(first.extra, run.objective.own_extra())
    try:
        with eval_mode(run.seen), draws_kept():
            logits = gradients.predict(run.seen, inputs, extra)
    except gradients.ModelError as error:
        shape = ", ".join(map(str, first.inputs.shape[1:]))
        raise SurefootError(
            f"{type(run.model).__name__} fails on the training data, inputs (N, {shape}): "
            f"{error.__cause__}. Make the model for inputs of that shape, or bring the data to the "
            "model's"
        ) from error
    classes = getattr(data, "classes", None)
    if classes is not None and len(classes) != logits.shape[1]:
        raise SurefootError(
            f"the data have {len(classes)} classes and the model {logits.shape[1]} logits; make "
            f"the model with classes={len(classes)}"
        )
