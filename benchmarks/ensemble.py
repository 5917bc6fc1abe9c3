"""The ensemble beside the default attack, and beside every single attack with ten restarts.

python benchmarks/ensemble.py [--root FOLDER] [--cifar FOLDER] [--only NAME] [--match port] [...]

"best of ten" is the lowest mean of TopK with ten restarts, at beta auto, none and 10; of the small
networks Dissimilarity, too. Cost is inputs that went through the model, in those of the default
TopK. All attacks have the same L-inf budget and steps. Networks:

digits, smooth: a small convolutional network with ReLU (with softplus), trained on scikit-learn's
handwritten digits of 8 x 8 pixels; 0.1, 20 steps, top 12 of 64 places, 16 images.

demo: EfficientNet-Lite0 at 64 pixels, 1/1020, 5 steps, top 200 of 4096, 2 photographs.

With --root (a folder that holds Fashion-MNIST) the eight networks of the zoo, too: 0.1, 10 steps,
top 100 of 784, 4 images. With --cifar (a folder that holds cifar10-resnet20.safetensors and
cifar10-train4k-lossless.npz) a ResNet-20: 1/510, 10 steps, top 100 of 1024, 4 images. Decoy maps
are made of six decoys, and of half the images.

port: the published loop (arXiv 1905.09957, released code, as read) with three times the passes of
the ensemble, and RAR's own protocol: softplus 1, double backward, 100 steps of epsilon / 10 from a
random point, and the iterate of least Kendall correlation.

speed: CPU seconds of one thread of TopK on 16 images, by default and without a surrogate, over
those of the published loop, one image at a time, at as many iterations; in turns, the least of
three each.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn

from resume import Jobs, correct_photographs, mean, study, table
from surefoot import attack, data, explain, metric, models
from surefoot.attack import Dissimilarity, Ensemble, Linf, RandomSign, TopK

SEED = 0
ZOO = ("natural", "pgd", "scaat", "attributional", "ig-norm", "ig-sum-norm", "alignment")
ZOO += ("saliency-guided",)
SMALL = ("digits", "smooth")
DECOY = "Decoy"
EXPLAINERS = {
    "Gradient": explain.Gradient(),
    "IntegratedGradients": explain.IntegratedGradients(steps=4),
    "SmoothGrad": explain.SmoothGrad(samples=4, std=0.1),
}
PORTED = ("digits", "natural", "pgd", "cifar")
NAME = "topk_intersection"


class Network(NamedTuple):
    """A network, images that it gets right, and how their maps are attacked."""

    model: nn.Module
    images: Tensor
    k: int
    budget: Linf
    patch: int


def digits(activation: type[nn.Module]) -> Network:
    """The network, and sixteen held-out digits that it gets right."""
    found = datasets.load_digits()
    x, y = torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target)
    torch.manual_seed(SEED)
    pool = nn.MaxPool2d(2) if activation is nn.ReLU else nn.AvgPool2d(2)
    layers = nn.Conv2d(1, 8, 3, padding=1), activation(), pool, nn.Flatten()
    net = nn.Sequential(*layers, nn.Linear(128, 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        some = torch.randint(1300, (64,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[some]), y[some]).backward()
        optimiser.step()
    net.eval()
    return Network(net, correct(net, x[1300:], y[1300:], 16), 12, Linf(0.1, steps=20), 2)


def fashion(name: str, root: str, count: int = 4) -> Network:
    """A network of the zoo."""
    held = data.load("fashion-mnist", "test", root=root)
    model = models.load(f"fashion-mnist/{name}")
    images = correct(model, held.inputs[:100], held.labels[:100], count)
    return Network(model, images, 100, Linf(0.1, steps=10), 7)


def cifar(folder: str, count: int = 4) -> Network:
    """ResNet-20 on training images of CIFAR-10, the only ones that are without loss."""
    weights = Path(folder) / "cifar10-resnet20.safetensors"
    model = models.load("resnet20", weights=weights, mean=IMAGENET[0], std=IMAGENET[1])
    with np.load(Path(folder) / "cifar10-train4k-lossless.npz") as stored:
        pixels, y = stored["x"][:40], torch.from_numpy(stored["y"][:40]).long()
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Network(model, correct(model, x, y, count), 100, Linf(1 / 510, steps=10), 8)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def demo() -> Network:
    """The demo's network on small photographs."""
    model = models.load("efficientnet-lite0")
    images = torch.stack([image for _, image in correct_photographs(model, 64)][:2])
    return Network(model, images, 200, Linf(1 / 1020, steps=5), 16)


def correct(model: nn.Module, x: Tensor, y: Tensor, count: int) -> Tensor:
    """The first images that a model gets right."""
    return x[(model(x).argmax(1) == y).nonzero()[:count, 0]]


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """How many inputs go through the model meanwhile."""
    rows: list[int] = []
    handle = model.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    try:
        yield rows
    finally:
        handle.remove()


def row(make: Callable[[], Network], name: str, *, small: bool) -> dict[str, Any]:
    """What each attack leaves of the top k, and what it costs."""
    model, x, k, budget, patch = make()
    if name == DECOY:
        x = x[: max(1, len(x) // 2)]
        explainer: explain.Explainer = explain.Decoy(
            explain.Gradient(), patch=patch, decoys=6, effort="fast"
        )
    else:
        explainer = EXPLAINERS[name]
    ten = Linf(budget.epsilon, steps=budget.steps, restarts=10)
    runs: dict[str, attack.AttributionAttack] = {"default": TopK(budget, k=k)}
    runs |= {"random": RandomSign(ten, k=k)}
    runs |= {f"TopK beta {beta}": TopK(ten, k=k, beta=beta) for beta in ("auto", None, 10)}
    runs |= {"Dissimilarity": Dissimilarity(ten, k=k)} if small else {}
    runs |= {effort: Ensemble(budget, k=k, effort=effort) for effort in ("quick", "standard")}
    found: dict[str, Any] = {"images": len(x)}
    for one, run in runs.items():
        with counted(model) as passes:
            result: attack.AttackResult = run(model, x, None, explainer)
        found[one] = {
            "left": mean(result.scores[NAME].tolist()),
            "kept": int(result.label_kept.sum()),
            "inputs": sum(passes),
            "most": float((result.inputs.double() - x.double()).abs().max()),
        }
        found[one]["inside"] = found[one]["most"] <= budget.radius
    return found


def published(
    model: nn.Module, x: Tensor, k: int, epsilon: float, explainer: explain.Explainer, passes: int
) -> tuple[float, int]:
    """The published loop on all images side by side: what is left, and its iterations.

    Plain sign steps of a fixed size by double backward through the softplus (beta 1) network; the
    iterate with the lowest intersection that keeps the prediction counts. An iteration takes three
    passes of the network: the surrogate's, the map's and the prediction's.
    """
    soft, steps = attack.smooth(model, 1.0), passes // (3 * len(x) * rows_of(explainer))
    label = model(x).argmax(1)

    def shares(net: nn.Module, at: Tensor, *, graph: bool) -> Tensor:
        maps = explainer(net, at, label, create_graph=graph).abs().sum(1).flatten(1)
        return maps / maps.sum(1, keepdim=True)

    clean = shares(model, x, graph=False)
    inside = torch.zeros_like(clean).scatter_(1, clean.topk(k, 1).indices, 1.0)
    best, points = torch.ones(len(x)), x.clone()
    for _ in range(steps):
        at = points.requires_grad_()
        (slope,) = torch.autograd.grad((shares(soft, at, graph=True) * inside).sum(), at)
        moved = points.detach() - (2 * epsilon / steps) * slope.sign()
        points = moved.clamp(x - epsilon, x + epsilon).clamp(0, 1)
        left = metric.topk_intersection(clean, shares(model, points, graph=False), k=k)
        best = torch.where(model(points).argmax(1) == label, best.minimum(left), best)
    return mean(best.tolist()), steps


def rows_of(explainer: explain.Explainer) -> int:
    """Inputs that a map takes."""
    return int(getattr(explainer, "steps", 1))


def port(make: Callable[[], Network], name: str) -> dict[str, Any]:
    """The ensemble beside the published loop with three times its passes, and RAR's protocol."""
    model, x, k, budget, _ = make()
    explainer, epsilon = EXPLAINERS[name], float(budget.radius)
    with counted(model) as passes:
        ours = Ensemble(budget, k=k)(model, x, None, explainer)
    left, steps = published(model, x, k, epsilon, explainer, 3 * sum(passes))
    slow = Linf(epsilon, steps=100, step_size=epsilon / 10, random_start=True)
    protocol = TopK(slow, k=k, beta=1.0, second_order="exact", keep="kendall")
    rar = protocol(model, x, None, explainer)
    return {
        "images": len(x),
        "ensemble": mean(ours.scores[NAME].tolist()),
        "port, three times the passes": left,
        "port: iterations": steps,
        "RAR's protocol": mean(rar.scores[NAME].tolist()),
        "RAR's protocol: Kendall": mean(rar.scores["kendall"].tolist()),
        "ensemble by Kendall": mean(
            Ensemble(budget, k=k, by="kendall")(model, x, None, explainer)
            .scores["kendall"]
            .tolist()
        ),
    }


def speed(make: Callable[[], Network], name: str) -> dict[str, Any]:
    """CPU seconds of the default TopK, and without a surrogate, beside the published loop's."""
    model, x, k, budget, _ = make()
    explainer, epsilon, steps = EXPLAINERS[name], float(budget.radius), budget.steps
    passes = 3 * steps * rows_of(explainer)
    runs: dict[str, Callable[[], Any]] = {
        f"beta {beta}": partial(TopK(budget, k=k, beta=beta), model, x, None, explainer)
        for beta in ("auto", None)
    }
    runs["port"] = lambda: [published(model, one[None], k, epsilon, explainer, passes) for one in x]
    seconds: dict[str, list[float]] = {one: [] for one in runs}
    for _, (one, run) in itertools.product(range(3), runs.items()):
        begun = time.process_time()
        run()
        seconds[one].append(time.process_time() - begun)
    least = {one: min(each) for one, each in seconds.items()}
    return {"images": len(x), "iterations": steps} | {
        f"{one} / port": round(least[one] / least["port"], 3) for one in ("beta auto", "beta None")
    }


def networks(chosen: argparse.Namespace) -> dict[str, Callable[[], Network]]:
    """By name, as far as their data are at hand."""
    found: dict[str, Callable[[], Network]] = {
        "digits": lambda: digits(nn.ReLU),
        "smooth": lambda: digits(nn.Softplus),
    }
    if chosen.root:
        found |= {name: partial(fashion, name, chosen.root) for name in ZOO}
    if chosen.cifar:
        found["cifar"] = partial(cifar, chosen.cifar)
    return found | {"demo": demo}


def jobs(chosen: argparse.Namespace) -> Jobs:
    """A job for each network and explainer, the quick ones first."""
    known = networks(chosen)
    some = [name for name in known if chosen.only in (None, name)]
    found: Jobs = {
        f"{network}, {name}": partial(row, known[network], name, small=network in SMALL)
        for name in (*EXPLAINERS, DECOY)
        for network in some
    }
    ported = [name for name in PORTED if name in some]
    found |= {
        f"port: {network}, {name}": partial(port, known[network], name)
        for name in ("Gradient", "IntegratedGradients")
        for network in ported
        if name == "Gradient" or network in SMALL
    }
    timed = {"natural": partial(fashion, "natural", chosen.root, 16)} if chosen.root else {}
    timed |= {"cifar": partial(cifar, chosen.cifar, 16)} if chosen.cifar else {}
    found = {
        f"speed: {network}, {name}": partial(speed, make, name)
        for network, make in timed.items()
        for name in ("Gradient", "IntegratedGradients")
        if chosen.only in (None, network) and (network, name) != ("cifar", "IntegratedGradients")
    } | found
    return {name: run for name, run in found.items() if chosen.match in name}


def options(parser: argparse.ArgumentParser) -> None:
    """The study's own options."""
    parser.add_argument("--root", help="the folder that holds Fashion-MNIST")
    parser.add_argument("--cifar", help="the folder that holds a ResNet-20 and CIFAR-10")
    parser.add_argument("--only", help="one network")
    parser.add_argument("--match", default="", help="jobs with this in their name, such as port")


def markdown(found: dict[str, Any]) -> str:
    """The rows as tables: attacks, then the published loop."""
    head = ["network, map", "images", "label kept", "random signs", "default TopK", "best of ten"]
    head += ["quick", "standard", "standard / default", "standard costs"]
    lines = []
    apart = ("port: ", "speed: ")
    rows = {name: each for name, each in found.items() if not name.startswith(apart)}
    for name, each in rows.items():
        ten = [v["left"] for key, v in each.items() if key.startswith(("TopK", "Dissim"))]
        lefts = [each[key]["left"] for key in ("random", "default")]
        lefts += [min(ten), each["quick"]["left"], each["standard"]["left"]]
        cost = each["standard"]["inputs"] / each["default"]["inputs"]
        ratio = each["standard"]["left"] / max(1e-9, each["default"]["left"])
        lines.append([name, each["images"], each["standard"]["kept"], *lefts, ratio, cost])
    lines.append(["mean", "", "", *(mean([line[i] for line in lines]) for i in range(3, 10))])
    tables = [table(head, lines)]
    for kind in apart:
        some = {name: each for name, each in found.items() if name.startswith(kind)}
        second = ["network, map", *next(iter(some.values()), {})]
        cells = [[name.removeprefix(kind), *each.values()] for name, each in some.items()]
        tables += [table(second, cells)] if some else []
    return "\n\n".join(tables)


if __name__ == "__main__":
    study(__doc__, "ensemble", jobs, markdown, options=options, threads=1)
