"""Audits that are killed: what is finished stays, and the end is that of an undisturbed run."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import surefoot
from surefoot import AuditResult, auditing, explain
from surefoot.attack import Linf, TopK

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

KILLS = 10
SLOW = 0.003


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3)).eval()


@dataclass(frozen=True, repr=False)
class Slow(explain.InputXGradient):
    """Takes its time, so that there is time to be killed in."""

    pause: float = SLOW

    def attribute(self, request):
        time.sleep(self.pause)
        return super().attribute(request)


def data():
    """Eighty samples, all of them right."""
    inputs = torch.rand(80, 6, generator=torch.Generator().manual_seed(1))
    return inputs, network()(inputs).argmax(1)


def settings(pause=SLOW):
    return {
        "explainers": {"gradient": explain.Gradient(), "slow": Slow(pause=pause)},
        "attacks": {"topk": TopK(Linf(0.1, steps=1), k=2)},
        "metrics": ["spearman", "gini"],
        "controls": False,
        "block": 2,
    }


def audit(folder, executor=None, progress=False, pause=SLOW):
    """Forty blocks, the same in every process."""
    torch.set_num_threads(1)
    more = {"out": folder, "executor": executor, "progress": progress}
    return surefoot.audit(network(), data(), **settings(pause), **more)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_at_random_points_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    whole = audit(tmp_path / "whole").frame()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pyarrow.parquet", "pandas", "scipy.stats"])
    draw, kills, finished = random.Random(0), 0, []
    killed = tmp_path / "killed"
    while kills < KILLS:
        process = context.Process(target=audit, args=(killed,))
        before = len(list(killed.glob("samples/part-*")))
        process.start()
        until = time.monotonic() + 60
        while len(list(killed.glob("samples/part-*"))) == before and time.monotonic() < until:
            time.sleep(0.005)  # the first new block is there
        time.sleep(draw.uniform(0, 3 * SLOW))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        finished.append(len(list(killed.glob("samples/part-*"))))
        if process.exitcode == 0:
            break
    assert kills == KILLS
    assert sorted(finished) == finished  # nothing that was finished is lost
    assert finished[-1] < 40
    for part in killed.glob("samples/part-*"):
        auditing._parts.read_part(part)  # each is whole
    assert audit(killed).frame().equals(whole)


def _python(*arguments):
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_dask_cluster_that_loses_a_worker_gives_the_same_rows(tmp_path):
    distributed = pytest.importorskip("distributed")
    where = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(where)]
    place = ["--host", "127.0.0.1", "--no-dashboard"]
    worker = [*place, "--nthreads", "1", "--no-nanny", "--death-timeout", "60", *common]
    started = [_python("distributed.cli.dask_scheduler", *place, "--port", "0", *common)]
    started += [_python("distributed.cli.dask_worker", *worker) for _ in range(2)]
    try:
        until = time.monotonic() + 60
        while not where.exists() and time.monotonic() < until:
            time.sleep(0.05)
        with distributed.Client(scheduler_file=str(where), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            folder, lost = tmp_path / "dask", []

            def lose_one(done, total):
                busy = f':{started[1].pid}"' in (folder / "blocks.jsonl").read_text()
                if busy and done < total and not lost:
                    lost.append(done)
                    started[1].kill()

            found = audit(folder, client.get_executor(), lose_one, pause=0.02).frame()
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert lost
    assert found.equals(audit(tmp_path / "alone", pause=0.02).frame())
    assert AuditResult.load(folder).frame().equals(found)
    lines = (folder / "blocks.jsonl").read_text()
    workers = {line.split('"worker": ')[1] for line in lines.splitlines()}
    assert len(workers) == 2
    assert not any(f":{os.getpid()}" in one for one in workers)


def test_ranks_of_a_launch_share_the_blocks(tmp_path, monkeypatch):
    tests = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, *sys.path]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launched = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "127.0.0.1:0", "-m", "test_audit_kill", str(tmp_path / "ranks")),
    ]
    done = subprocess.run(launched, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-800:]
    found = AuditResult.load(tmp_path / "ranks")
    assert found.frame().equals(audit(tmp_path / "alone").frame())
    lines = (tmp_path / "ranks" / "blocks.jsonl").read_text().splitlines()
    assert len(lines) == 40
    assert len({line.split('"worker": ')[1] for line in lines}) == 2
    assert not list((tmp_path / "ranks").glob(".surefoot-launch*"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_workers_do_not_outlive_a_parent_that_is_killed() -> None:
    command = [sys.executable, "-c", _ASKS_A_WORKER]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert _runs(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(worker)


_ASKS_A_WORKER = """
import os, time
from surefoot.auditing import Processes
if __name__ == "__main__":
    executor = Processes(1, threads=1)
    print(executor.submit(os.getpid).result(), flush=True)
    time.sleep(120)
"""


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = settings()
    auditing.run(
        auditing.Settings(**given), network(), data(), sys.argv[1], ranks=auditing.Ranks.of()
    )
