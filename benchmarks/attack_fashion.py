"""Attacks on Fashion-MNIST: RAR's setting, and a plain port of the published loop side by side.

python benchmarks/attack_fashion.py --root FOLDER [--images 200] [--only rar] [--markdown]

FOLDER holds the data set (`surefoot.data.load("fashion-mnist")` says what it looks for). The
networks are trained naturally here (RAR's CNN: 3 epochs of Adam 1e-3; a ResNet-18 for 32 pixels
on padded images: 3000 images) and kept in runs/benchmarks.

rar: IntegratedGradients with 10 points, scored with 100, k = 100, epsilon 0.1, 30 steps, on the
first test images that the network gets right; random signs (20 draws) beside it.

port: the published loop (arXiv 1905.09957, released code, as read): one image at a time, plain sign
steps of a fixed size, double backward through the softplus (beta 1) network, no restarts; it keeps
the iterate with the lowest intersection, as ours does (the published loop keeps the lowest Kendall
tau). Same map, same budget, batch 16. Seconds are the process's CPU seconds on one thread.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resume import Jobs, mean, study, table
from surefoot import attack, data, explain, gradients, metric, models
from surefoot.attack import Linf, RandomSign, TopK

SEED, K, EPSILON, BATCH = 0, 100, 0.1, 16
RUNS = Path("runs/benchmarks")


def trained(name: str, build: Callable[[], nn.Module], x: Tensor, y: Tensor, epochs: int) -> Any:
    """A network trained naturally, or the one that an earlier run has kept."""
    model, path = build(), RUNS / f"{name}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for some in torch.randperm(len(x), generator=generator).split(100):
            loss = functional.cross_entropy(model(x[some]), y[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval()


def cnn(root: str) -> tuple[nn.Module, Tensor, Tensor]:
    """RAR's CNN, and the test images and labels it gets right."""
    train = data.load("fashion-mnist", "train", root=root)
    model = trained(
        "rar-cnn", lambda: models.build("rar-cnn", seed=SEED), train.inputs, train.labels, 3
    )
    return model, *correct(model, *test(root))


def resnet(root: str) -> tuple[nn.Module, Tensor, Tensor]:
    """ResNet-18 on images padded to 32 pixels, and the test images and labels it gets right."""
    train = data.load("fashion-mnist", "train", root=root)
    x = functional.pad(train.inputs[:3000], (2, 2, 2, 2))
    make = partial(models.build, "resnet18-small", seed=SEED, channels=1, classes=10)
    model = trained("resnet18", make, x, train.labels[:3000], 1)
    images, labels = test(root)
    return model, *correct(model, functional.pad(images[:100], (2, 2, 2, 2)), labels[:100])


def test(root: str) -> tuple[Tensor, Tensor]:
    """The first 1000 test images."""
    held = data.load("fashion-mnist", "test", root=root)
    return held.inputs[:1000], held.labels[:1000]


def correct(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Those that the model gets right."""
    right = gradients.predict(model, x).argmax(1) == y
    print(f"accuracy on {len(y)} test images: {float(right.float().mean()):.3f}", flush=True)
    return x[right], y[right]


def rar(model: nn.Module, x: Tensor, y: Tensor, beta: Any) -> dict[str, Any]:
    """One batch in RAR's setting: the share of the top k left for each image."""
    judge = explain.IntegratedGradients(steps=100)
    found = TopK(Linf(EPSILON, steps=30), k=K, seed=SEED, beta=beta)(
        model, x, y, explain.IntegratedGradients(steps=10), score_with=judge
    )
    random = RandomSign(Linf(EPSILON, restarts=20), k=K, seed=SEED, trace=True)(
        model, x, y, explain.IntegratedGradients(steps=30)
    )
    return {
        "left": [round(float(v), 3) for v in found.scores["topk_intersection"]],
        "kendall": [round(float(v), 3) for v in found.scores["kendall"]],
        "label kept": int(found.label_kept.sum()),
        "random left": [round(float(v), 3) for v in random.trace.mean((0, 1))],
    }


def port(
    model: nn.Module, soft: nn.Module, x: Tensor, y: Tensor, points: int, steps: int
) -> Tensor:
    """The published loop on one image (1, C, H, W): the share of the top k left, (1,)."""
    alphas = torch.linspace(1 / points, 1, points).view(-1, 1, 1, 1)

    def saliency(net: nn.Module, at: Tensor, *, graph: bool) -> Tensor:
        path = at if points == 1 else at * alphas
        (slope,) = torch.autograd.grad(net(path)[:, y].sum(), path, create_graph=graph)
        pull = slope.mean(0, keepdim=True)
        reduced = (pull if points == 1 else at * pull).abs().sum(1)
        return reduced / reduced.sum()

    point = x.clone().requires_grad_()
    clean = saliency(model, point, graph=False).detach()
    inside = torch.zeros_like(clean).flatten()
    inside[clean.flatten().topk(K).indices] = 1
    best = torch.ones(1)
    for _ in range(steps):
        loss = (saliency(soft, point, graph=True).flatten() * inside).sum()
        (slope,) = torch.autograd.grad(loss, point)
        moved = point.detach() - (2 * EPSILON / steps) * slope.sign()
        moved = moved.clamp(x - EPSILON, x + EPSILON).clamp(0, 1)
        point = moved.requires_grad_()
        now = saliency(model, point, graph=False).detach()
        if int(model(point).argmax()) == int(y):
            best = best.minimum(metric.topk_intersection(clean, now, k=K))
    return best


def side_by_side(
    model: nn.Module, x: Tensor, y: Tensor, e: explain.Explainer, points: int, steps: int, beta: Any
) -> dict[str, Any]:
    """The port, ours with as many iterations, and ours with as many as fit in the port's time."""
    soft = attack.smooth(model, beta=1.0)

    def ours(count: int) -> Tensor:
        run = TopK(Linf(EPSILON, steps=count), k=K, seed=SEED, beta=beta)
        return run(model, x, y, e).scores["topk_intersection"]

    def theirs() -> Tensor:
        each = [port(model, soft, x[i : i + 1], y[i], points, steps) for i in range(len(x))]
        return torch.cat(each)

    ours(1)  # warm
    equal, ours_took = timed(lambda: ours(steps))
    plain, port_took = timed(theirs)
    ratio = port_took / ours_took
    longer, longer_took = timed(lambda: ours(int(steps * ratio * 0.95)))
    return {
        "iterations": steps,
        "port: left": mean(plain.tolist()),
        "ours: left": mean(equal.tolist()),
        "port: seconds": round(port_took, 1),
        "ours: seconds": round(ours_took, 1),
        "times faster": round(ratio, 2),
        "ours at equal time: iterations": int(steps * ratio * 0.95),
        "ours at equal time: left": mean(longer.tolist()),
        "ours at equal time: seconds": round(longer_took, 1),
    }


def timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result, and the process's CPU seconds."""
    begun = time.process_time()
    found = run()
    return found, time.process_time() - begun


def ports(root: str) -> Jobs:
    """The port beside ours, with and without a surrogate for our derivatives."""
    small, deep = cnn(root), resnet(root)
    ig = explain.IntegratedGradients(steps=10, quadrature="right")
    cases: dict[str, tuple[Any, ...]] = {
        "ResNet-18, Gradient": (deep, explain.Gradient(), 1, 10),
        "RAR CNN, IntegratedGradients": (small, ig, 10, 30),
        "RAR CNN, Gradient": (small, explain.Gradient(), 1, 30),
    }
    return {
        f"port, {name}, ours with beta {beta}": partial(
            side_by_side, model, x[:BATCH], y[:BATCH], e, points, steps, beta
        )
        for beta in (None, 30.0)
        for name, ((model, x, y), e, points, steps) in cases.items()
    }


def jobs(root: str, count: int, only: str | None) -> Jobs:
    """What is measured, by name."""
    found: Jobs = {}
    if only in (None, "port"):
        found |= ports(root)
    model, x, y = cnn(root)
    for start in range(0, count, 20):
        if only in (None, "rar"):
            some = slice(start, start + 20)
            found[f"rar, images {start} to {start + 19}"] = partial(
                rar, model, x[some], y[some], "auto"
            )
    return found


def markdown(done: dict[str, Any]) -> str:
    """RAR's setting as means, then the port beside ours."""
    batches = [row for job, row in done.items() if job.startswith("rar")]
    pooled = {
        key: [v for row in batches for v in row[key]] for key in ("left", "kendall", "random left")
    }
    kept = sum(row["label kept"] for row in batches)
    lines = (
        [[len(pooled["left"]), kept, *(mean(values) for values in pooled.values())]]
        if batches
        else []
    )
    sides = [
        [job.partition(", ")[2], *row.values()] for job, row in done.items() if job[:4] == "port"
    ]
    head = next((list(row) for job, row in done.items() if job.startswith("port")), [])
    first = ["images", "label kept", "left under attack", "Kendall", "left under random signs"]
    return table(first, lines) + "\n\n" + table(["network, map", *head], sides)


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--only", choices=["rar", "port"])


if __name__ == "__main__":
    study(
        __doc__,
        "attack_fashion",
        lambda chosen: jobs(chosen.root, chosen.images, chosen.only),
        markdown,
        options=options,
        threads=1,
    )
