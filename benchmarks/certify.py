"""Certificates against brute force, how tight they are, and what one of a photograph costs.

python benchmarks/certify.py [--only exact] [--markdown]

exact: networks small enough to search, in float32, untrained, 200 balls each (50 inputs, 4 radii):
every entry of the gradient at every point looked at must lie in its bounds, and the overlap of the
top half above its floor. Two inputs: a grid of 101 x 101 points of each ball; others: all corners
and 10,000 random points, and of ten balls 1,000,000. "reached" is how much of the bounds' width the
points span: 1 is tight.

randomised: at the edge of what may be certified, where every certificate given is a violation: of
4000 runs at most alpha may be, and chance.

cost: CPU seconds of one thread of a certificate of one photograph (EfficientNet-Lite0, 224 pixels,
Gradient, n = 100) beside those of the mean of 100 maps of noisy inputs (SmoothGrad), in turns, the
lower of two each.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from resume import Jobs, study, table
from surefoot import certify, data, explain, gradients, metric, models

SHARES = (0.02, 0.2, 0.5, 1.0)
INPUTS, POINTS, MANY = 50, 10_000, 1_000_000


def dense(size: int) -> nn.Module:
    """Two hidden layers, ReLU and its leaky relative."""
    first, second = (nn.Linear(size, 8), nn.ReLU()), (nn.Linear(8, 6), nn.LeakyReLU(0.2))
    return nn.Sequential(*first, *second, nn.Linear(6, 3))


def pooled() -> nn.Module:
    """Of (N, 1, 3, 4): convolution, batch norm, maximum and mean pooling."""
    begin = nn.Conv2d(1, 3, 2, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU6()
    middle = nn.MaxPool2d(2, stride=1), nn.PReLU(3), nn.AvgPool2d(2, ceil_mode=True)
    return nn.Sequential(*begin, *middle, nn.Flatten(), nn.Linear(12, 3))


def curved() -> nn.Module:
    """Tanh, softplus and sigmoid."""
    first, second = (nn.Linear(3, 5), nn.Tanh()), (nn.Linear(5, 5), nn.Softplus())
    return nn.Sequential(*first, *second, nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "2 inputs, ReLU": (partial(dense, 2), (2,), 0.3),
    "3 inputs, smooth": (curved, (3,), 0.2),
    "6 inputs, ReLU": (partial(dense, 6), (6,), 0.1),
    "8 inputs, ReLU": (partial(dense, 8), (8,), 0.1),
    "12 inputs, convolution": (pooled, (1, 3, 4), 0.05),
}


def ways(size: int, count: int, seed: int) -> Tensor:
    """Points of [-1, 1]^size, (P, size): a grid of two inputs, else all corners and random ones."""
    if size == 2:
        line = torch.linspace(-1, 1, 101)
        return torch.cartesian_prod(line, line)
    corners = torch.cartesian_prod(*size * [torch.tensor([-1.0, 1.0])])
    inner = torch.rand(count, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.cat([corners, inner])


def exact(name: str) -> dict[str, Any]:
    """Balls searched, entries out of bounds, floors broken, and the share of the width reached."""
    make, shape, radius = NETWORKS[name]
    torch.manual_seed(0)
    net = make().eval()
    x = torch.rand(INPUTS, *shape)
    target, k = net(x).argmax(1), max(1, x[0].numel() // 2)
    row: dict[str, Any] = {"balls": 0, "points": 0, "violations": 0, "floors broken": 0}
    spans, widths = torch.zeros(len(SHARES)), torch.zeros(len(SHARES))
    for number, share in enumerate(SHARES):
        reach = share * radius
        low, high = certify.gradient_bounds(net, x, target, radius=reach)
        floor = certify.Exact(explain.Gradient(), reach, k=k)(net, x, target).overlap
        for i in range(INPUTS):
            count = MANY if number == 3 and i < 10 and x[0].numel() > 2 else POINTS
            moved = reach * ways(x[0].numel(), count, i).view(-1, *shape)
            points = (x[i] + moved).clamp(0, 1).clamp(x[i] - reach, x[i] + reach)
            maps = torch.cat([gradient(net, some, target[i]) for some in points.split(100_000)])
            clean = gradient(net, x[i : i + 1], target[i]).abs().expand_as(maps)
            left = metric.topk_intersection(clean, maps.abs(), k=k).min()
            row["balls"] += 1
            row["points"] += len(points)
            row["violations"] += int(((maps < low[i]) | (maps > high[i])).any())
            row["floors broken"] += int(left < floor[i] - 1e-6)
            spans[number] += float((maps.amax(0) - maps.amin(0)).sum())
            widths[number] += float((high[i] - low[i]).sum())
    reached = (spans / widths).tolist()
    return row | {
        f"reached at {share:g}": round(v, 3) for share, v in zip(SHARES, reached, strict=True)
    }


def gradient(net: nn.Module, points: Tensor, target: Tensor) -> Tensor:
    """Of one class, by autograd itself."""
    at = points.clone().requires_grad_()
    return torch.autograd.grad(net(at)[:, target].sum(), at)[0]


def randomised(correction: str) -> dict[str, Any]:
    """How often a certificate is wrong where every one is."""
    sigma, tau, alpha, runs = 0.2, 0.75, 0.1, 4000
    gap = sigma * math.sqrt(2) * NormalDist().inv_cdf(tau)
    itself = explain.Function(lambda _model, inputs, _target: inputs)
    net, x = nn.Linear(2, 2).eval(), torch.tensor([[gap, 0.0]])
    wrong = 0
    for seed in range(runs):
        recipe = certify.Smoothed(
            itself,
            k=1,
            sigma=sigma,
            samples=60,
            tau=tau,
            alpha=alpha,
            seed=seed,
            correction=correction,
            reduction="sum",
        )
        wrong += int((recipe(net, x, 0).mask >= 0).any())
    return {"runs": runs, "alpha": alpha, "violations": wrong, "rate": round(wrong / runs, 4)}


def cost() -> dict[str, Any]:
    """A certificate of a photograph beside as many maps."""
    model = models.load("efficientnet-lite0")
    image = data.load_image(data.photographs()[0][1], 224)[None]
    target, explainer = gradients.predict(model, image).argmax(1), explain.Gradient()
    recipe = certify.Smoothed(explainer, k=0.05, sigma=0.15, samples=100)
    plain = explain.SmoothGrad(samples=100, std=0.15)
    runs = {
        "certificate": lambda: recipe(model, image, target),
        "100 maps": lambda: plain(model, image, target),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _, (name, run) in itertools.product(range(2), runs.items()):
        begun = time.process_time()
        run()
        seconds[name].append(time.process_time() - begun)
    least = {name: min(each) for name, each in seconds.items()}
    return {name: round(value, 2) for name, value in least.items()} | {
        "ratio": round(least["certificate"] / least["100 maps"], 3)
    }


def jobs(chosen: argparse.Namespace) -> Jobs:
    """What is measured, by name."""
    found: Jobs = {f"exact: {name}": partial(exact, name) for name in NETWORKS}
    found |= {f"randomised: {each}": partial(randomised, each) for each in ("bonferroni", "holm")}
    found |= {"cost: one photograph": cost}
    return {name: run for name, run in found.items() if name.startswith(chosen.only or "")}


def markdown(found: dict[str, Any]) -> str:
    """A table for each kind."""
    tables = []
    for kind in ("exact", "randomised", "cost"):
        rows = {name: each for name, each in found.items() if name.startswith(kind)}
        lines = [[name.partition(": ")[2], *each.values()] for name, each in rows.items()]
        head = [kind, *next(iter(rows.values()), {})]
        tables.append(table(head, lines))
    return "\n\n".join(tables)


if __name__ == "__main__":
    study(
        __doc__,
        "certify",
        jobs,
        markdown,
        options=lambda parser: parser.add_argument("--only", help="exact, randomised or cost"),
        threads=1,
    )
