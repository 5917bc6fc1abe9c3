"""Kills: work is killed at random points, gone on with, and compared with one left alone.

`survives` is the harness, for training, exports and audits. The work runs in a process forked from
this one, so that a kill costs what the work costs, not the start of Python.
"""

import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch
from pyarrow import parquet
from torch import nn

import surefoot
from fuzz._outcome import Tally
from surefoot import attack, auditing, explain, models, train
from surefoot.data import Samples

Work = Callable[[Path], object]
Content = dict[str, str]


def contents(folder: Path, leave: Iterable[str] = ()) -> Content:
    """The digests of the files in a folder, by name, but hidden ones and some."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in leave
    }


def apart(work: Work, folder: Path, kill_after: float | None = None) -> int:
    """The work in a forked process, killed after so many seconds; its exit code."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            os.setpgid(0, 0)
            work(folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)  # its workers are left to notice, as at a user's
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def survives(
    work: Work,
    compare: Callable[[Path], object],
    kills: int,
    seed: int,
    tally: Tally,
    *,
    name: str,
    most: int = 5,
) -> None:
    """Kill the work at random points until there were so many kills, and compare what is left.

    Args:
        work: what is done in a folder; called again in the same one it goes on.
        compare: what must be the same at the end, of the folder.
        kills: how many, in runs of at most `most` each.
        seed: of the points.
        tally: gets one call for each kill.
        name: of the work.
    """
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole_of = Path(scratch) / "whole"
        told = Path(scratch) / "modules"
        if apart(lambda folder: (work(folder), told.write_text(" ".join(sys.modules))), whole_of):
            raise RuntimeError(f"{name} fails when it is left alone")
        for module in told.read_text().split():  # else every process would import them anew
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        began = time.monotonic()
        apart(work, Path(scratch) / "again")
        whole, length = compare(whole_of), time.monotonic() - began
        done = 0
        while done < kills:
            folder = Path(scratch) / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            points = [generator.uniform(0, 1.1 * length) for _ in range(min(most, kills - done))]
            codes = [apart(work, folder, point) for point in points]
            last = apart(work, folder)
            ended = [code for code in codes if code not in (0, -signal.SIGKILL)]
            for number, point in enumerate(points):
                what = f"{name} killed after {point:.3f} s ({number + 1} of {len(points)})"
                tally.judge(what, partial(_same, last, ended, compare(folder), whole))
            done += len(points)


def _same(last: int, ended: list[int], found: object, whole: object) -> bool:
    if last or ended:
        raise RuntimeError(f"it went on with exit codes {[*ended, last]}")
    if found != whole:
        raise RuntimeError("what is left differs")
    return True


def data() -> Samples:
    """Grey pictures, dark or light."""
    pixels = torch.randint(0, 256, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    stored = pixels.to(torch.uint8)
    return Samples(stored, (stored.float().mean((1, 2, 3)) > 127.5).long(), ("dark", "light"))


def network() -> nn.Module:
    """A small one with all that a run keeps: batch norm, dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()),
            nn.Linear(144, 2),
        )


LOOP = train.Loop(
    steps=40, batch=12, optimizer="SGD(lr=0.1, momentum=0.9)", average=0.9, clip=1.0, seed=3
)


def training(folder: Path) -> None:
    """A run with checkpoints and validation, gone on with where it was."""
    train.fit(
        network(),
        train.PGD(0.05, steps=1),
        data(),
        LOOP,
        held_out=data(),
        validation=train.Validation(adversary=None, audit=None),
        validate_every=10,
        checkpoint_every=3,
        log_every=4,
        out=folder,
        resume=True,
    )


def export(folder: Path) -> None:
    """A saved network written over another one, many times; every state of the folder loads."""
    if (folder / "card.json").exists():
        models.load(folder)
    for number in range(12):
        with torch.random.fork_rng():
            torch.manual_seed(number)
            net = models.build("mlp", features=200, classes=3)
        models.save(net, folder, "mlp", settings={"features": 200, "classes": 3})
    models.load(folder)


def audit(folder: Path, executor: auditing.Processes | None = None) -> None:
    """An audit in blocks, gone on with where it was."""
    pictures = data()[torch.arange(12)][0]
    net = network().eval()
    surefoot.audit(
        net,
        (pictures, net(pictures).argmax(1)),
        explainers={"gradient": explain.Gradient(), "times input": explain.InputXGradient()},
        attacks={"topk": attack.TopK(attack.Linf(0.05, steps=1), k=5)},
        metrics=["spearman", "gini"],
        draws=2,
        block=1,
        out=folder,
        executor=executor,
    )


def shared_audit(folder: Path) -> None:
    """The same with two processes at work."""
    with auditing.Processes(2, threads=1) as executor:
        audit(folder, executor)


def audited(folder: Path) -> Content:
    """The rows and pictures of an audit, to the bit, and what it tells but times and workers."""
    state = json.loads((folder / "audit.json").read_text())
    told = {name: v for name, v in state.items() if name not in ("started", "finished", "digest")}
    rows = {}
    for path in sorted((folder / "samples").glob("part-*")):
        sink = pa.BufferOutputStream()
        table = parquet.read_table(path).replace_schema_metadata(None)
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        block = path.name.rpartition("-")[0]
        if block in rows:
            raise RuntimeError(f"{block} is there twice")
        rows[block] = hashlib.sha256(sink.getvalue()).hexdigest()
    return contents(folder / "gallery") | rows | {"told": json.dumps(told)}


def run(number: int, seed: int = 0) -> Tally:
    """So many kills: a third each in training and audits, a fifth in exports, the rest in two."""
    tally, third, fifth, rest = Tally(), number // 3, number // 5, number - number // 3 * 2
    survives(training, contents, third, seed, tally, name="training")
    survives(audit, audited, third, seed, tally, name="audit")
    survives(export, contents, fifth, seed, tally, name="export")
    survives(shared_audit, audited, rest - fifth, seed, tally, name="audit of two processes")
    return tally
