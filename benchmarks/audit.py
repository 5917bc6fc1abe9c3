"""What an audit costs beside the work itself, and what kills do to it.

    python benchmarks/audit.py kills memory blocks cost workers

Each part can be run by itself; results go to benchmarks/results/audit.json. Times are those of the
processor, not of the clock, so that other work on the machine matters less; but for `workers`,
which wants two idle cores.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the harness of kills

import surefoot
from fuzz._outcome import Tally
from fuzz.kills import audited, survives
from surefoot import attack, auditing, explain, metric
from surefoot.version import versions

RESULTS = Path(__file__).parent / "results" / "audit.json"
KILLS = 50


class Drawn(Dataset):
    """Samples that are made when they are asked for."""

    def __init__(self, samples: int, features: int = 32, right: int | None = None):
        self.samples, self.features, self.right = samples, features, right
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 3)]
            self.net = nn.Sequential(*layers).eval()

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        x = torch.rand(self.features, generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            label = int(self.net(x[None]).argmax())
        wrong = self.right is not None and number >= self.right
        return x, (label + 1) % 3 if wrong else label


def small(samples: int, folder: Path | None, block: int = 4) -> surefoot.AuditResult:
    """An audit of a small network."""
    torch.set_num_threads(1)
    data = Drawn(samples)
    return surefoot.audit(
        data.net,
        DataLoader(data, batch_size=block),
        explainers={"gradient": explain.Gradient(), "ixg": explain.InputXGradient()},
        attacks={"topk": attack.TopK(attack.Linf(0.1, steps=1), k=4)},
        metrics=["spearman", "gini"],
        draws=1,
        block=block,
        out=folder,
    )


def kills() -> dict[str, object]:
    """SIGKILL at random points of runs, which go on afterwards, by the harness of `fuzz`."""
    tally = Tally()

    def work(folder: Path) -> None:
        small(48, folder)

    survives(work, audited, KILLS, 0, tally, name="audit")
    return {
        "kills": tally.calls,
        "in runs of": "up to 5 kills, of 12 blocks",
        "equal to the undisturbed run, to the byte": tally.results,
        "others": len(tally.failures),
    }


def peak(samples: int) -> None:
    """Print the largest memory of a run and its summary, in MiB."""
    folder = Path(tempfile.mkdtemp())
    try:
        result = small(samples, folder, block=50)
        result.summary()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    finally:
        shutil.rmtree(folder)


def memory() -> dict[str, object]:
    """Peak memory of few samples and of many, each in a process of its own."""
    found = {}
    for samples in (200, 20_000):
        command = [sys.executable, __file__, "--peak", str(samples)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        found[f"{samples} samples, MiB"] = round(float(done.stdout), 1)
    few, many = found.values()
    return {**found, "ratio": round(many / few, 3)}


def blocks(number: int) -> dict[str, object]:
    """Blocks in which nothing is left to do: what keeping the books takes."""
    torch.set_num_threads(1)
    data = Drawn(number, features=4, right=1)
    x = torch.stack([data[n][0] for n in range(number)])
    y = torch.tensor([data[n][1] for n in range(number)])
    folder = Path(tempfile.mkdtemp())
    given: dict[str, Any] = {
        "explainers": {"gradient": explain.Gradient()},
        "metrics": ["gini"],
        "block": 1,
    }
    try:
        survey = time.process_time()
        auditing.Settings(**given).source(
            auditing._data.opened((x, y)), auditing.Settings(**given).plan(data.net)
        ).survey()
        survey = time.process_time() - survey
        start, clock = time.process_time(), time.perf_counter()
        surefoot.audit(data.net, (x, y), **given, out=folder)
        took, clock = time.process_time() - start, time.perf_counter() - clock
        start, scan = time.process_time(), time.perf_counter()
        surefoot.audit(data.net, (x, y), **given, out=folder)
        return {
            "blocks": number,
            "ms a block": round(1000 * (took - 2 * survey) / number, 3),
            "ms a block, by the clock, all passes included": round(1000 * clock / number, 3),
            "resume, s": round(time.process_time() - start, 1),
            "resume, by the clock, s": round(time.perf_counter() - scan, 1),
        }
    finally:
        shutil.rmtree(folder)


def cost() -> dict[str, object]:
    """An audit against the same calls in a plain loop, in turns, of few samples and of more.

    What does not grow with the samples, the rehearsal and the gallery, counts on the audit's side.
    """
    return {f"{number} samples": _cost(number) for number in (128, 1024)}


def _cost(samples: int, rounds: int = 5) -> dict[str, object]:
    torch.set_num_threads(1)
    net, x, y = pictures()
    x, y = x.repeat(samples // len(x), 1, 1, 1), y.repeat(samples // len(y))
    explainers = {
        "gradient": explain.Gradient(),
        "ig": explain.IntegratedGradients(steps=8),
    }
    topk = attack.TopK(attack.Linf(0.02, steps=5), k=100)

    def audit() -> None:
        with tempfile.TemporaryDirectory() as folder:
            surefoot.audit(
                net,
                (x, y),
                explainers=explainers,
                attacks={"topk": topk},
                metrics=["spearman", "gini"],
                controls=False,
                block=32,
                out=folder,
            )

    def loop() -> None:
        for some, labels in zip(x.split(32), y.split(32), strict=True):
            for one in explainers.values():
                metric.gini(explain.reduce(one(net, some, labels)))
                found = topk(net, some, labels, one)
                before, after = explain.reduce(found.before), explain.reduce(found.after)
                metric.spearman(before, after)
                metric.gini(after)

    ratios = []
    for _ in range(rounds + 1):
        times = []
        for work in (audit, loop):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        ratios.append(times[0] / times[1])
    ratios = sorted(round(one, 3) for one in ratios[1:])
    return {"rounds": rounds, "ratio": ratios[rounds // 2], "all": ratios}


def workers(rounds: int = 3) -> dict[str, object]:
    """Two worker processes against one, a thread each, by the clock and in turns."""
    torch.set_num_threads(1)
    net, x, y = pictures()
    given: dict[str, Any] = {
        "explainers": {"ig": explain.IntegratedGradients(steps=16)},
        "attacks": {"topk": attack.TopK(attack.Linf(0.02, steps=10), k=100)},
        "metrics": ["spearman"],
        "controls": False,
        "block": 8,
    }
    took: dict[int, list[float]] = {1: [], 2: []}
    with auditing.Processes(1, threads=1) as one, auditing.Processes(2, threads=1) as two:
        for executor in (one, two):  # processes start, and import what they need
            surefoot.audit(net, (x[:32], y[:32]), **given, executor=executor)
        for _ in range(rounds):
            for executor in (one, two):
                start = time.perf_counter()
                surefoot.audit(net, (x, y), **given, executor=executor)
                took[executor.number].append(time.perf_counter() - start)
    single, double = (sorted(some)[rounds // 2] for some in took.values())
    return {
        "rounds": rounds,
        "one worker, s": [round(one, 1) for one in took[1]],
        "two workers, s": [round(one, 1) for one in took[2]],
        "ratio of medians": round(single / double, 2),
    }


def pictures() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small convolutional network, 128 pictures and the classes that it predicts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 10)).eval()
        x = torch.rand(128, 3, 32, 32)
    return net, x, net(x).argmax(1)


PARTS: dict[str, Any] = {
    "kills": kills,
    "memory": memory,
    "blocks": blocks,
    "cost": cost,
    "workers": workers,
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--blocks", type=int, default=100_000, help="that are empty")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        peak(given.peak)
        return
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in given.parts:
        found = blocks(given.blocks) if name == "blocks" else PARTS[name]()
        print(name, found)
        known |= {name: found, "versions": versions("torch", "pandas", "pyarrow")}
        known["cores"] = os.cpu_count()
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
