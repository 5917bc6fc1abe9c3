"""What an audit will cost, from a rehearsal: passes, time, memory and disk."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn

from surefoot.auditing import _data
from surefoot.auditing._parts import OnDisk
from surefoot.auditing._rehearsal import rehearse
from surefoot.auditing._settings import Settings
from surefoot.auditing._source import Tally, check_used, joined
from surefoot.auditing._unit import measured
from surefoot.auditing._work import Work

_TRIED = 2  # samples


@dataclass(frozen=True)
class Estimate:
    """What a run will take, as far as a few samples tell.

    Attributes:
        samples: looked at; None where their number is not known.
        audited: about how many are classified correctly and audited.
        blocks: of them.
        passes: forward passes of single samples, most with a backward pass.
        seconds: in this process, as it is now.
        memory: bytes, the largest that this process had so far.
        disk: bytes of the parts.
        slowest: explainers and attacks that take most, with their share of the time.
    """

    samples: int | None
    audited: int
    blocks: int
    passes: int
    seconds: float
    memory: int
    disk: int
    slowest: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time_ = f"{hours:.1f} hours" if hours >= 1 else f"{self.seconds / 60:.1f} minutes"
        slow = ", ".join(f"{name} {share:.0%}" for name, share in self.slowest)
        return (
            f"{self.audited} samples in {self.blocks} blocks; {self.passes:,} passes of single "
            f"samples; about {time_} in one process; {self.memory / 2**20:,.0f} MiB of memory so "
            f"far, {self.disk / 2**20:,.1f} MiB of disk; most of it for {slow}"
        )


def estimate(settings: Settings, model: Any, loader: Any) -> Estimate:
    """Measure a few samples as the audit will, and multiply."""
    plan = settings.plan(model)
    data = _data.opened(loader)
    source = settings.source(data, plan)
    total, first = Tally(), []
    for piece in source.pieces():
        total.add(piece.tally)
        first.append(piece.batch)
        if total.used >= _TRIED:
            break
    check_used(total)
    plan = rehearse(plan, next(batch for batch in first if len(batch)))
    batch = next(joined(iter(first), _TRIED))
    costs: dict[str, float] = {}
    rows = []
    with counted(plan.models.values()) as passes:
        for unit in plan.units():
            start = time.perf_counter()
            rows += list(measured(unit, batch))
            name = f"{unit.explainer[0]} under {unit.attack}"
            costs[name] = costs.get(name, 0.0) + time.perf_counter() - start
    work = Work(plan, source, settings.named(data), "")
    share = total.used / total.seen
    known = data.size or total.seen
    audited = min(settings.limit or known, max(1, round(share * known)))
    times = audited / len(batch)
    seconds = sum(costs.values())
    slowest = sorted(costs.items(), key=lambda item: -item[1])[:3]
    return Estimate(
        samples=data.size,
        audited=audited,
        blocks=-(-known // settings.block),
        passes=round(passes[0] * times),
        seconds=seconds * times,
        memory=_memory(),
        disk=round(OnDisk.size(work.table(rows)) * times),
        slowest=tuple((name, cost / seconds) for name, cost in slowest),
    )


@contextmanager
def counted(models: Any) -> Iterator[list[int]]:
    """Inside, how many samples went forward through any of the models."""
    passes = [0]

    def count(_module: nn.Module, given: tuple[Any, ...], words: dict[str, Any]) -> None:
        tensors = [v for v in chain(given, words.values()) if isinstance(v, torch.Tensor)]
        passes[0] += len(tensors[0])

    hooks = [model.register_forward_pre_hook(count, with_kwargs=True) for model in models]
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


def _memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
