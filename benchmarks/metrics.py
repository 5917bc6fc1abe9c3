"""Speed of metrics beside scipy and Quantus: interleaved runs in one process, ratios of medians.

python benchmarks/metrics.py [--rounds 7] [--output benchmarks/results/metrics.json]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import quantus
import scipy
import scipy.stats
import torch
from torch import Tensor, nn

from surefoot import metric
from surefoot.metric._kendall import tau_b

Run = Callable[[], Any]


def make_maps(samples: int, entries: int, ties: bool) -> tuple[Tensor, Tensor]:
    """Two related batches of maps, (N, n); with ties, of about 20 levels."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(samples, entries, generator=generator)
    b = a + torch.randn(samples, entries, generator=generator)
    return ((5 * a).round(), (5 * b).round()) if ties else (a, b)


def by_scipy(function: Callable[..., Any], a: Tensor, b: Tensor) -> Run:
    """The statistic of scipy, sample by sample."""
    pairs = list(zip(a.numpy(), b.numpy(), strict=True))
    return lambda: torch.tensor([function(x, y).statistic for x, y in pairs])


def rank_runs(samples: int, entries: int, ties: bool) -> dict[str, dict[str, Run]]:
    """Rank correlations of one size, ours and scipy's."""
    a, b = make_maps(samples, entries, ties)
    size = f"{samples}x{entries}{' with ties' if ties else ''}"
    kendall = by_scipy(scipy.stats.kendalltau, a, b)
    return {
        f"spearman {size}": {
            "surefoot": lambda: metric.spearman(a, b),
            "scipy": by_scipy(scipy.stats.spearmanr, a, b),
        },
        f"kendall {size}": {
            "surefoot": lambda: metric.kendall(a, b),
            "surefoot without scipy": lambda: tau_b(a, b),
            "scipy": kendall,
        },
    }


def make_net(side: int) -> nn.Module:
    """A small convolutional classifier, untrained."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
    with torch.no_grad():
        width = nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, 3, side, side)).shape[1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 10)).eval()


def flipping_runs(samples: int, side: int, steps: int) -> dict[str, dict[str, Run]]:
    """Pixel flipping with the same features at the same steps, ours and Quantus'."""
    model = make_net(side)
    generator = torch.Generator().manual_seed(1)
    images, maps = (torch.rand(samples, 3, side, side, generator=generator) for _ in "im")
    target = model(images).argmax(1)
    theirs = quantus.PixelFlipping(
        features_in_step=3 * side**2 // steps,
        perturb_baseline=0.0,
        normalise=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    arrays = {"x_batch": images.numpy(), "y_batch": target.numpy(), "a_batch": maps.numpy()}

    def run_theirs() -> Tensor:
        scores = theirs(model=model, **arrays, channel_first=True, softmax=True, device="cpu")
        return torch.tensor(np.array(scores))

    def run_ours() -> Tensor:
        curve = metric.perturbation_curve(
            model, images, maps, target, baseline="black", steps=steps
        )
        return curve.score[:, 1:]

    name = f"pixel flipping {samples}x3x{side}x{side}, {steps} steps"
    return {name: {"surefoot": run_ours, "quantus": run_theirs}}


def measure(runs: dict[str, Run], rounds: int) -> dict[str, Any]:
    """Median seconds of each run over interleaved rounds, ratios and agreement with the last."""
    results = {name: run() for name, run in runs.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    *ours, peer = runs
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "seconds": {name: round(value, 5) for name, value in middle.items()},
        "ratio": {name: round(middle[name] / middle[peer], 3) for name in ours},
        "difference": {
            name: float((results[name].double() - results[peer].double()).abs().max())
            for name in ours
        },
    }


def main() -> None:
    """Measure, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="interleaved repetitions")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "metrics.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs: dict[str, dict[str, Run]] = {}
    for samples, entries in ((256, 784), (64, 3072), (4, 50176)):
        for ties in (False, True):
            runs |= rank_runs(samples, entries, ties)
    runs |= flipping_runs(8, 32, 96) | flipping_runs(1, 224, 96)
    table = {name: measure(run, options.rounds) for name, run in runs.items()}
    for name, row in table.items():
        print(f"{name:45s} {row['ratio']}  difference {row['difference']}")
    versions = {
        "torch": torch.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
        "quantus": quantus.__version__,
    }
    settings = {"rounds": options.rounds, "threads": options.threads, "device": "cpu"}
    report = {"settings": settings, "versions": versions, "results": table}
    options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
