"""A network trained by an objective, and its audit: the cells of the training studies."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import surefoot
from studies._attacks import right, robust
from studies._cells import Cell, Found, made_by
from studies._tasks import Task
from surefoot import models, train
from surefoot.auditing import AuditResult
from surefoot.data import Samples


@dataclass(frozen=True)
class Length:
    """How long networks train, and how much of them is measured.

    Attributes:
        steps: of training.
        batch: of each.
        images: test images whose maps are measured (those that the network gets right).
        hard: how many of them meet the ensemble, too.
        accuracy: test images for accuracy; PGD accuracy takes a tenth of them.
        attack_steps: of attacks on maps.
    """

    steps: int = 4000
    batch: int = 64
    images: int = 100
    hard: int = 30
    accuracy: int = 10_000
    attack_steps: int = 50


@dataclass(frozen=True)
class Measures:
    """What is explained, and how it is attacked and measured.

    Attributes:
        explainers: whose maps are attacked.
        attacks: on all images that are measured.
        metrics: of maps, and of maps before and after.
        hard: attacks on a few of the images.
        clean: explainers whose maps are measured as they are.
    """

    explainers: Mapping[str, Any]
    attacks: Mapping[str, Any]
    metrics: Any
    hard: Mapping[str, Any]
    clean: Mapping[str, Any] = field(default_factory=dict)


def cell(
    task: Task,
    arm: str,
    objective: train.Objective,
    seed: int,
    length: Length,
    measures: Measures,
    **loop: Any,
) -> Cell:
    """The network of that arm and seed, trained and measured."""
    settings = {"optimizer": "Adam(lr=0.001)", "schedule": "CosineAnnealingLR()", **loop}
    plan = train.Loop(length.steps, batch=length.batch, seed=seed, **settings)
    return Cell(task.name, arm, seed, partial(_run, task, objective, plan, length, measures))


def _run(
    task: Task,
    objective: train.Objective,
    loop: train.Loop,
    length: Length,
    measures: Measures,
    folder: Path,
) -> Found:
    began = time.process_time()
    samples, test = task.load("train"), task.load("test")
    classes = len(samples.classes)
    net = models.build(task.network, classes=classes, seed=loop.seed, **task.options)
    every = max(1, length.steps // 8)
    train.fit(
        *(net, objective, samples, loop),
        out=folder / "training",
        checkpoint_every=every,
        resume=True,
        progress=False,
    )
    net.eval()
    trained = time.process_time() - began
    audits = [_audit(net, test, length.images, measures, measures.attacks, folder / "audit")]
    if measures.clean:
        alone = replace(measures, explainers=measures.clean)
        audits.append(_audit(net, test, length.images, alone, {}, folder / "clean"))
    if length.hard:
        audits.append(_audit(net, test, length.hard, measures, measures.hard, folder / "hard"))
    facts = {
        "objective": repr(objective),
        "network": f"{task.network} {dict(task.options)}",
        "loop": repr(loop),
        "attacks": {name: repr(one) for name, one in {**measures.attacks, **measures.hard}.items()},
        "explainers": {
            name: repr(one) for name, one in {**measures.explainers, **measures.clean}.items()
        },
        "weights": hashlib.sha256(_bytes(net)).hexdigest()[:16],
        **made_by(),
        "training, seconds of processor": round(trained, 1),
    }
    return Found.of(audits, _figures(net, test, task.epsilon, length), facts)


def _bytes(net: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in net.state_dict().values())


def _figures(net: nn.Module, test: Samples, epsilon: float, length: Length) -> dict[str, float]:
    """Accuracy on the test images, and under PGD-20 on a tenth of them."""
    x, y = test.inputs[: length.accuracy], test.labels[: length.accuracy]
    few = max(1, len(x) // 10)
    return {
        "accuracy": float(right(net, x, y).mean()),
        "accuracy under PGD-20": float(robust(net, x[:few], y[:few], epsilon).mean()),
    }


def _audit(
    net: nn.Module,
    test: Samples,
    images: int,
    measures: Measures,
    attacks: Mapping[str, Any],
    out: Path,
) -> AuditResult:
    data = TensorDataset(test.inputs[:images], test.labels[:images])
    loader = torch.utils.data.DataLoader(data, batch_size=50)
    return surefoot.audit(
        *(net, loader),
        explainers=measures.explainers,
        attacks=attacks,
        metrics=measures.metrics,
        block=50,
        draws=3,
        out=out,
    )
