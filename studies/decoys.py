"""Decoy-enhanced maps (DANCE, arXiv 2002.00526): is it the decoys, or is it the range?

Each cell is one base method on one network; its arms share masks, sizes and the number of maps:
the base map alone, the range over decoys, the mean over them, and ranges over patches that move
towards a constant, at random, or towards a blurred picture by as much as the decoys do. SF is
taken in both readings of its print. Attacks are made for each arm itself; "transferred" ones were
made for the base map. All settings that the paper does not give are this project's choice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import surefoot
from studies._cells import Cell, Found, made_by
from studies._claims import Claim, difference
from studies._page import Study
from surefoot import attack, auditing, data, explain, metric, models
from surefoot.attack import Linf

BASES = {
    "gradient": explain.Gradient(),
    "integrated-gradients": explain.IntegratedGradients(steps=16),
    "smoothgrad": explain.SmoothGrad(samples=16, std=0.15),
}
_CONTROLS = ("constant", "noise", "blur")
SF = "saliency_fidelity"


@dataclass(frozen=True)
class Network:
    """A network with the samples whose maps are measured, and how many of them are attacked."""

    name: str
    load: Callable[[], tuple[nn.Module, Tensor, Tensor]]
    attacked: int
    epsilon: float
    steps: int = 20
    decoys: int = 32
    k: float = 0.1


def arms(base: explain.Explainer, decoys: int) -> dict[str, explain.Explainer]:
    """The arms of the comparison, by name."""
    made = partial(explain.Decoy, base, decoys=decoys)
    ranges = {f"{source}, range": made(source=source) for source in _CONTROLS}
    return {
        "without": base,
        "decoys, range": made(),
        **ranges,
        "decoys, mean": made(aggregate="mean"),
    }


def _run(network: Network, base: explain.Explainer, folder: Path) -> Found:
    model, x, y = network.load()
    explainers = arms(base, network.decoys)
    both = {"SF": metric.get(SF), "SF, mean": metric.get(SF, denominator="mean")}
    clean = surefoot.audit(
        *(model, DataLoader(TensorDataset(x, y), batch_size=10)),
        explainers=explainers,
        metrics={**both, "gini": "gini"},
        block=10,
        out=folder / "clean",
    )
    budget = Linf(network.epsilon, steps=network.steps)
    found = {
        "topk": attack.TopK(budget, k=network.k),
        "mass centre": attack.MassCenter(budget, k=network.k),
        "target": attack.Target(budget, k=network.k),
    }
    others = {f"{n}, transferred": auditing.Transferred(one, base) for n, one in found.items()}
    few = TensorDataset(x[: network.attacked], y[: network.attacked])
    attacked = surefoot.audit(
        *(model, DataLoader(few, batch_size=10)),
        explainers={name: explainers[name] for name in ("without", "decoys, range")},
        attacks={**found, **others},
        metrics=["topk_intersection", "sensitivity"],
        block=10,
        out=folder / "attacked",
    )
    facts = {"base": repr(base), "attacks": {name: repr(one) for name, one in found.items()}}
    return Found.of([clean, attacked], {"samples": len(clean)}, {**facts, **made_by()})


def networks(size: str, root: Path | None) -> list[Network]:
    """The networks with their data."""
    if size == "smoke":
        return [Network("digits", partial(_digits, 8), 4, epsilon=0.1, steps=2, decoys=8)]
    cifar = {name: partial(_cifar, name, root) for name in ("resnet20", "resnet56")}
    return [
        *(Network(f"cifar10-{name}", load, 40, 2 / 255) for name, load in cifar.items()),
        Network("efficientnet-lite0", partial(_photographs, root), 20, 1 / 255),
    ]


def cells(size: str, root: Path | None) -> list[Cell]:
    """Every base method on every network."""
    bases = {"gradient": BASES["gradient"]} if size == "smoke" else BASES
    return [
        Cell(network.name, name, 0, partial(_run, network, base))
        for network in networks(size, root)
        for name, base in bases.items()
    ]


@cache
def _digits(few: int) -> tuple[nn.Module, Tensor, Tensor]:
    found = datasets.load_digits()
    x, y = torch.from_numpy(found.images / 16).float()[:, None], torch.from_numpy(found.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten()
        net = nn.Sequential(*layers, nn.Linear(128, 10))
        optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(100):
            some = torch.randint(1400, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[some]), y[some]).backward()
            optimiser.step()
    return net.eval(), x[1400 : 1400 + few], y[1400 : 1400 + few]


def _cifar(name: str, root: Path | None) -> tuple[nn.Module, Tensor, Tensor]:
    """The network of published weights, and 500 test images."""
    if root is None:
        raise SystemExit(f"--root FOLDER, with cifar10-{name}.safetensors and cifar10.npz")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    weights = root / f"cifar10-{name}.safetensors"
    model = models.load(name, weights=weights, mean=mean, std=std, classes=10)
    test = data.load("arrays:cifar10.npz", "test", root=root).samples()
    picked = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:500]
    return model, test.inputs[picked], test.labels[picked]


def _photographs(root: Path | None) -> tuple[nn.Module, Tensor, Tensor]:
    """EfficientNet-Lite0, and 60 photographs named `INDEX_..jpg` by their class."""
    if root is None:
        raise SystemExit("--root FOLDER, with photographs/INDEX_NAME.jpg of ImageNet's classes")
    paths = sorted((root / "photographs").glob("*.jpg"))[:60]
    x = torch.stack([data.load_image(path, 224) for path in paths])
    y = torch.tensor([int(path.name.split("_")[0]) for path in paths])
    return models.load("efficientnet-lite0"), x, y


def _less(a: str, b: str, measure: str, base: str) -> Any:
    """By how much a's value is below b's: of SF and sensitivity, less is better."""
    return difference(f"{base} > {a} | {measure}", f"{base} > {b} | {measure}", scale=-1)


def _claims() -> list[Claim]:
    found = []
    for base in BASES:
        for other in ("without", "constant, range", "noise, range", "decoys, mean"):
            says = f"{base}: SF of decoys with range is below that of {other}"
            effect = _less("decoys, range", other, "clean | SF", base)
            found.append(Claim(says, "DANCE, poster and 4.2", effect))
        for name in ("topk", "mass centre", "target"):
            says = f"{base}: sensitivity of decoys is below the base's under {name}"
            for kind in ("", ", transferred"):
                effect = _less(
                    "decoys, range", "without", f"{name}{kind} | relative_sensitivity", base
                )
                found.append(Claim(f"{says}{kind}, over the map's norm", "DANCE, 4.3", effect))
    return found


STUDY = Study(
    name="decoys",
    title="Decoy-enhanced maps: is it the decoys, or is it the range?",
    about=__doc__ or "",
    columns={
        f"{measure}: {arm}": f"{arm} | clean | {measure}"
        for measure in ("SF", "SF, mean")
        for arm in arms(explain.Gradient(), 2)
    },
    claims=_claims(),
)
