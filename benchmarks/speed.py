"""Cost of explainers and decoys: interleaved runs in one process, ratios of medians.

python benchmarks/speed.py [--rounds 5] [--threads 2] [--cpu] [--only PART ...] [--list]
    [--cifar-weights FOLDER] [--output ...]

Ratios are the message: the machine may be shared. Peers are captum at its default and at the
best of several batch settings, measured here too, and counts of our own Gradient maps. Each case
is written into the result file as it is measured, in place of what it held of that case.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import captum
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from decoys_networks import cifar, untrained
from resume import RESULTS, Jobs
from surefoot import data, explain, models
from surefoot.decoy import make_decoys
from surefoot.files import write_whole

Run = Callable[[], Any]
BATCHES = (2, 4, 8)
STEPS = 32


def small_resnet() -> nn.Module:
    """A ResNet-18 shape for 32 pixels, width 32, untrained."""

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.short = nn.Conv2d(inside, outside, 1, stride, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            inner = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.short(x) + self.bn2(self.conv2(inner)))

    torch.manual_seed(0)
    widths = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    blocks = [Block(*width) for width in widths]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), *blocks, *head).eval()


def saved_megabytes(run: Run) -> float:
    """The most memory that graphs hold for backward at one time during a run."""
    held = most = 0

    class Token:
        def __init__(self, value: Tensor) -> None:
            nonlocal held, most
            self.value, self.size = value, value.numel() * value.element_size()
            held += self.size
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Token, lambda token: token.value):
        run()
    return round(most / 2**20, 2)


def against_captum(model: nn.Module, images: Tensor, steps: int) -> dict[str, dict[str, Run]]:
    """Integrated Gradients and SmoothGrad, ours and captum's at several batch settings."""
    target = model(images).argmax(1)
    ig, tunnel = IntegratedGradients(model), NoiseTunnel(Saliency(model))
    noise = {"nt_type": "smoothgrad", "nt_samples": steps, "stdevs": 0.15, "abs": False}
    ours = {
        "integrated": explain.IntegratedGradients(steps=steps),
        "smooth": explain.SmoothGrad(samples=steps),
    }
    groups: dict[str, dict[str, Run]] = {
        name: {"surefoot": lambda e=e: e(model, images, target)} for name, e in ours.items()
    }
    fast = models.folded(model, images[:1])
    for name, e in ours.items():
        groups[name]["surefoot, folded"] = lambda e=e: e(fast, images, target)
    groups["integrated"]["captum default"] = lambda: ig.attribute(
        images, target=target, n_steps=steps
    )
    groups["smooth"]["captum default"] = lambda: tunnel.attribute(images, target=target, **noise)
    for batch in BATCHES:
        groups["integrated"][f"captum {batch}"] = lambda batch=batch: ig.attribute(
            images, target=target, n_steps=steps, internal_batch_size=max(batch, len(images))
        )
        per_image = max(1, batch // len(images))
        groups["smooth"][f"captum {batch}"] = lambda n=per_image: tunnel.attribute(
            images, target=target, nt_samples_batch_size=n, **noise
        )
    return groups


def memory(model: nn.Module, images: Tensor, rows: int) -> dict[str, float]:
    """Megabytes saved for backward at equal chunk: ours, captum's."""
    target = model(images).argmax(1)
    mine = explain.IntegratedGradients(steps=16, chunk=rows)
    theirs = IntegratedGradients(model)
    return {
        "surefoot": saved_megabytes(lambda: mine(model, images, target)),
        "captum": saved_megabytes(
            lambda: theirs.attribute(images, target=target, n_steps=16, internal_batch_size=rows)
        ),
    }


def interleaved(
    runs: dict[str, Run], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each run, all in turn, after one warm-up."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def decoy_runs(model: nn.Module, image: Tensor) -> tuple[dict[str, Run], int]:
    """Making a map's decoys, and its attribution part, beside as many Gradient maps."""
    e = explain.Decoy(explain.Gradient())
    target = model(image[None]).argmax(1)
    offsets = e.offsets(model, image[None])
    rows = image + offsets[0]
    return {
        "Gradient maps": lambda: e.base(model, rows, target.expand(len(rows))),
        "making decoys": lambda: make_decoys(model, image[None]),
        "attribution part": lambda: e.at_offsets(model, image[None], offsets, target),
    }, len(rows)


def small_runs(model: nn.Module, images: Tensor) -> tuple[dict[str, Run], int]:
    """Making the decoys of many small images in one call, beside as many Gradient maps."""
    e = explain.Gradient()
    target = model(images).argmax(1)
    rows = make_decoys(model, images).inputs
    count = rows.shape[1]

    def maps() -> None:
        for some, label in zip(rows, target, strict=True):
            e(model, some, label.expand(count))

    together = partial(e, model, rows.flatten(0, 1), target.repeat_interleave(count))
    return {
        "Gradient maps": maps,
        "Gradient maps in one call": together,
        "making decoys": lambda: make_decoys(model, images),
    }, count


def crops(photograph: Tensor, side: int) -> Tensor:
    """A photograph (3, H, W) cut into small images (N, 3, side, side)."""
    rows = photograph.unfold(1, side, side).unfold(2, side, side)
    return rows.permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()


def ratios(seconds: dict[str, float]) -> dict[str, Any]:
    """Ours beside captum's default and its best setting."""
    best = min((name for name in seconds if name[-1].isdigit()), key=lambda n: seconds[n])
    ours = seconds["surefoot"]
    return {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio to captum default": round(ours / seconds["captum default"], 3),
        "ratio to captum best": round(ours / seconds[best], 3),
        "ratio of the folded model to captum best": round(
            seconds["surefoot, folded"] / seconds[best], 3
        ),
        "captum best": best,
    }


def cases(folder: Path | None, measured: Callable[[dict[str, Run]], dict[str, float]]) -> Jobs:
    """All cases by name; networks are made when their case begins."""
    lite0 = cache(partial(models.load, "efficientnet-lite0"))
    photograph = data.photographs()[0][1]
    image = data.load_image(photograph, 224)
    torch.manual_seed(0)
    small = torch.rand(8, 3, 32, 32)
    todo: Jobs = {}
    for case, make, images in (
        ("lite0, 1 photograph of 224 px, 32 steps", lite0, image[None]),
        ("ResNet, 8 images of 32 px, 32 steps", cache(small_resnet), small),
    ):
        for name in ("integrated", "smooth"):
            todo[f"{name}: {case}"] = partial(explainers, name, make, images, measured)
        todo[f"memory: {case}"] = lambda make=make, images=images: memory(make(), images, 8)
    todo["decoys: lite0, 1 photograph of 224 px"] = lambda: decoys(
        *decoy_runs(lite0(), image), measured
    )
    if importlib.util.find_spec("torchvision"):
        todo["decoys: ResNet-18, 1 photograph of 224 px"] = lambda: decoys(
            *decoy_runs(untrained("torchvision", "resnet18"), image), measured
        )
    if folder:
        tiles = crops(data.load_image(photograph, 256), 32)
        todo["decoys: CIFAR ResNet-20, 64 images of 32 px"] = lambda: decoys(
            *small_runs(cifar(20, folder), tiles), measured
        )
    return todo


def explainers(
    name: str,
    make: Callable[[], nn.Module],
    images: Tensor,
    measured: Callable[[dict[str, Run]], dict[str, float]],
) -> dict[str, Any]:
    """One explainer of ours beside captum's."""
    return ratios(measured(against_captum(make(), images, STEPS)[name]))


def decoys(
    runs: dict[str, Run], count: int, measured: Callable[[dict[str, Run]], dict[str, float]]
) -> dict[str, Any]:
    """Everything beside as many Gradient maps."""
    seconds = measured(runs)
    found: dict[str, Any] = {"decoys of an image": count}
    found["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
    for name, value in seconds.items():
        if name != "Gradient maps":
            found[f"{name} / Gradient maps"] = round(value / seconds["Gradient maps"], 3)
    return found


def main() -> None:
    """Measure what --only selects, one case after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of cases")
    parser.add_argument("--list", action="store_true", help="print the names of the cases alone")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds: a shared machine")
    parser.add_argument("--cifar-weights", type=Path, default=None, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=RESULTS / "speed.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    settings = {
        "seconds": "of CPU" if options.cpu else "by the clock",
        "rounds": options.rounds,
        "threads": options.threads,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "captum": captum.__version__,
    }
    todo = cases(options.cifar_weights, partial(interleaved, rounds=options.rounds, clock=clock))
    for name, run in todo.items():
        if not any(part in name for part in options.only):
            continue
        if options.list:
            print(name)
            continue
        row = {**run(), "settings": settings}
        done = json.loads(options.output.read_text()) if options.output.exists() else {}
        write_whole(options.output, (json.dumps(done | {name: row}, indent=1) + "\n").encode())
        print(name, json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
