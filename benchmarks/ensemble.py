"""The ensemble beside the default attack, and beside every single attack with ten restarts.

python benchmarks/ensemble.py [--root FOLDER] [--only digits] [--markdown]

digits, smooth: a small convolutional network with ReLU (with softplus), trained on scikit-learn's
handwritten digits of 8 x 8 pixels; L-inf 0.1, 20 steps, top 12 of 64 places, 16 images. With
--root (a folder that holds Fashion-MNIST) the eight networks of the zoo, too: L-inf 0.1, 20 steps,
top 100 of 784, 8 images. "best of ten" is the lowest mean of TopK (beta auto, none, 10) and
Dissimilarity with ten restarts. Cost is inputs that went through the model, in those of the default
TopK.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn

from resume import Jobs, study, table
from surefoot import attack, data, explain, models
from surefoot.attack import Dissimilarity, Ensemble, Linf, RandomSign, TopK

STEPS, EPSILON, SEED = 20, 0.1, 0
ZOO = ("natural", "pgd", "scaat", "attributional", "ig-norm", "ig-sum-norm", "alignment")
ZOO += ("saliency-guided",)
EXPLAINERS = {
    "Gradient": explain.Gradient(),
    "IntegratedGradients": explain.IntegratedGradients(steps=4),
    "SmoothGrad": explain.SmoothGrad(samples=4, std=0.1),
}


def digits(activation: type[nn.Module]) -> tuple[nn.Module, Tensor, int]:
    """The network, sixteen held-out digits that it gets right, and k."""
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
    right = (net(x[1300:]).argmax(1) == y[1300:]).nonzero()[:16, 0]
    return net, x[1300:][right], 12


def fashion(name: str, root: str) -> tuple[nn.Module, Tensor, int]:
    """A network of the zoo, eight test images that it gets right, and k."""
    model, _ = models.load(f"fashion-mnist/{name}")
    held = data.load("fashion-mnist", "test", root=root)
    x, y = held.inputs[:100], held.labels[:100]
    return model, x[model(x).argmax(1) == y][:8], 100


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """How many inputs go through the model meanwhile."""
    rows: list[int] = []
    handle = model.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    try:
        yield rows
    finally:
        handle.remove()


def row(made: tuple[nn.Module, Tensor, int], explainer: explain.Explainer) -> dict[str, Any]:
    """What each attack leaves of the top k, and what it costs."""
    model, x, k = made
    budget, ten = Linf(EPSILON, steps=STEPS), Linf(EPSILON, steps=STEPS, restarts=10)
    singles = {f"TopK beta {beta}": TopK(ten, k=k, beta=beta) for beta in ("auto", None, 10)}
    singles |= {"Dissimilarity": Dissimilarity(ten, k=k)}
    ours = {effort: Ensemble(budget, k=k, effort=effort) for effort in ("quick", "standard")}
    random = RandomSign(ten, k=k)
    found: dict[str, Any] = {"images": len(x)}
    for name, run in {"default": TopK(budget, k=k), "random": random, **singles, **ours}.items():
        with counted(model) as rows:
            result: attack.AttackResult = run(model, x, None, explainer)
        found[name] = {
            "left": round(float(result.scores["topk_intersection"].mean()), 4),
            "kept": int(result.label_kept.sum()),
            "inputs": sum(rows),
            "most": round(float((result.inputs - x).abs().max()), 7),
        }
    return found


def jobs(chosen: argparse.Namespace) -> Jobs:
    """A job for each network and explainer."""
    networks = {
        "digits": lambda: digits(nn.ReLU),
        "smooth": lambda: digits(nn.Softplus),
    }
    if chosen.root:
        networks |= {name: partial(fashion, name, chosen.root) for name in ZOO}
    return {
        f"{network}, {name}": partial(lambda make, e: row(make(), e), make, explainer)
        for network, make in networks.items()
        for name, explainer in EXPLAINERS.items()
        if chosen.only in (None, network)
    }


def options(parser: argparse.ArgumentParser) -> None:
    """The study's own options."""
    parser.add_argument("--root", help="the folder that holds Fashion-MNIST")
    parser.add_argument("--only", help="one network")


def markdown(found: dict[str, Any]) -> str:
    """The rows as a table."""
    head = ["network, map", "images", "label kept", "random signs", "default TopK", "best of ten"]
    head += ["quick", "standard", "standard costs"]
    lines = []
    for name, each in found.items():
        ten = [v["left"] for key, v in each.items() if key.startswith(("TopK", "Dissim"))]
        lefts = [each[key]["left"] for key in ("random", "default")]
        lefts += [min(ten), each["quick"]["left"], each["standard"]["left"]]
        cost = each["standard"]["inputs"] / each["default"]["inputs"]
        lines.append([name, each["images"], each["standard"]["kept"], *lefts, cost])
    return table(head, lines)


if __name__ == "__main__":
    study(__doc__, "ensemble", jobs, markdown, options=options, threads=1)
