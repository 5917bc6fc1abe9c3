"""The networks of the study of decoys with their samples: photographs, images, text, records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn

from surefoot import data, gradients, models

IMAGES = ("constant", "noise", "blur")
OTHERS = ("constant", "noise")  # nothing to blur
ATTACKS = ("topk", "mass centre", "target")
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Loaded:
    """A network, the samples that its maps are measured on, and what is known of both.

    Attributes:
        model: in evaluation mode.
        x: samples.
        y: their labels.
        low: the least value that an input may have; decoys stay above.
        high: the largest.
        masks: where the object is, (N, H, W) bool; None if there are none.
        accuracy: on the whole test split; None where there is none.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    low: float = 0.0
    high: float = 1.0
    masks: Tensor | None = None
    accuracy: float | None = None

    def first(self, count: int) -> "Loaded":
        """With the first samples alone."""
        masks = None if self.masks is None else self.masks[:count]
        return replace(self, x=self.x[:count], y=self.y[:count], masks=masks)


@dataclass(frozen=True)
class Network:
    """A network with the samples whose maps are measured, and how many of them are attacked.

    Attributes:
        name: as the page has it.
        load: what is measured; called when it is needed.
        attacked: how many samples meet the attacks.
        epsilon: of the attacks, L-infinity.
        steps: of the attacks.
        decoys: of each sample.
        k: share of a map's places that counts as its top.
        controls: what patches move towards instead of a decoy's change.
        attacks: those that its maps have a meaning for.
        noise: standard deviation of SmoothGrad.
        box: whether attacks stay in [low, high]; embeddings have no box.
    """

    name: str
    load: Callable[[], Loaded]
    attacked: int
    epsilon: float
    steps: int = 20
    decoys: int = 32
    k: float = 0.1
    controls: Sequence[str] = IMAGES
    attacks: Sequence[str] = ATTACKS
    noise: float = 0.15
    box: bool = True

    def bounds(self, loaded: Loaded) -> tuple[float, float]:
        """That attacks stay in."""
        return (loaded.low, loaded.high) if self.box else (-inf, inf)


def networks(size: str, root: Path | None) -> list[Network]:
    """The networks with their data; the cheap ones first."""
    if size == "smoke":
        return [Network("digits", partial(_digits, 8), 4, epsilon=0.1, steps=2, decoys=8)]
    cifar = {name: partial(_cifar, name, root) for name in ("resnet20", "resnet56")}
    other: dict[str, Any] = {"controls": OTHERS, "attacks": ("topk",)}
    return [
        Network("nsl-kdd-mlp", partial(_records, root), 20, 0.02, **other),
        Network("rt-polarity-cnn", partial(_text, root), 20, 0.02, **other, noise=0.05, box=False),
        Network("bloodcells-lite0", partial(_cells, root), 10, 1 / 255, decoys=16, attacks=()),
        *(Network(f"cifar10-{name}", load, 40, 2 / 255) for name, load in cifar.items()),
        Network("efficientnet-lite0", partial(_photographs, root), 20, 1 / 255),
    ]


@cache
def _digits(few: int) -> Loaded:
    found = datasets.load_digits()
    x, y = torch.from_numpy(found.images / 16).float()[:, None], torch.from_numpy(found.target)

    def make() -> nn.Module:
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(128, 10))

    net = _fitted(make, x[:1400], y[:1400], steps=100, rate=0.02)
    return Loaded(net, x[1400 : 1400 + few], y[1400 : 1400 + few])


@cache
def _records(root: Path | None) -> Loaded:
    """An MLP on NSL-KDD, normal or attack, and 200 records of the test file."""
    train, test = (data.load("nsl-kdd", split, root=_needed(root)) for split in ("train", "test"))
    sizes = {"features": train.inputs.shape[1], "classes": 2}
    make = partial(models.build, "mlp", **sizes)
    net = _fitted(make, train.inputs, train.labels, steps=2000, rate=1e-3)
    x, y = _picked(test.inputs, test.labels, 200)
    return Loaded(net, x, y, accuracy=_accuracy(net, test.inputs, test.labels))


@cache
def _text(root: Path | None) -> Loaded:
    """Kim's network on sentences of film reviews, and 200 of the held-out fold, embedded."""
    sets = [
        data.load("sentence-polarity", split, root=_needed(root), length=40, min_count=2)
        for split in ("train", "test")
    ]
    (words, labels), (held, truth) = ((one.inputs, one.labels) for one in sets)
    sizes = {"vocabulary": len(sets[0].vocabulary), "dimension": 64, "filters": 32}
    make = partial(models.build, "text-cnn", **sizes)
    net = _fitted(make, words, labels, steps=800, rate=1e-3)
    model = models.Classifier(net, embedding="embedding").eval()
    tokens, y = _picked(held, truth, 200)
    with torch.no_grad():
        x = torch.as_tensor(model.embed(tokens)).detach().clone()
        right = [(net(held[some]).argmax(1) == truth[some]) for some in _blocks(len(held))]
    table = net.get_submodule("embedding").weight.detach()
    accuracy = float(torch.cat(right).float().mean())
    return Loaded(model, x, y, float(table.min()), float(table.max()), accuracy=accuracy)


@cache
def _cells(root: Path | None) -> Loaded:
    """EfficientNet-Lite0, its last layer fitted to blood smears, and 40 white cells with boxes."""
    with np.load(_needed(root) / "bloodcells96.npz") as found:
        content = {name: torch.from_numpy(found[name]) for name in found.files}
    x = {split: content[f"x_{split}"].permute(0, 3, 1, 2) / 255 for split in ("train", "test")}
    y = {split: content[f"y_{split}"].long() for split in x}
    model = models.load("efficientnet-lite0")
    whole: Any = model.module if isinstance(model, models.Classifier) else model
    width = whole._fc.in_features
    whole._fc = nn.Identity()
    with torch.no_grad():
        features = torch.cat([model(x["train"][some]) for some in _blocks(len(y["train"]))])
    rare = (y["train"] == 0).nonzero()[:, 0].repeat(4)  # one in six shows no white cell
    balanced = torch.cat([torch.arange(len(features)), rare])
    make = partial(nn.Linear, width, 2)
    whole._fc = _fitted(make, features[balanced], y["train"][balanced], steps=500, rate=1e-3)
    model.eval()
    accuracy = _accuracy(model, x["test"], y["test"])
    shown = (y["test"] == 1) & (gradients.predict(model, x["test"]).argmax(1) == 1)
    picked = shown.nonzero()[:40, 0]
    masks = content["mask_test"][picked].bool()
    return Loaded(model, x["test"][picked], y["test"][picked], masks=masks, accuracy=accuracy)


def _cifar(name: str, root: Path | None) -> Loaded:
    """The network of published weights, and 500 test images."""
    weights = _needed(root) / f"cifar10-{name}.safetensors"
    model = models.load(name, weights=weights, classes=10, **_IMAGENET)
    test = data.load("arrays:cifar10.npz", "test", root=root).samples()
    return Loaded(model, *_picked(test.inputs, test.labels, 500))


def _photographs(root: Path | None) -> Loaded:
    """EfficientNet-Lite0, and 60 photographs named `INDEX_..jpg` by their class."""
    paths = sorted((_needed(root) / "photographs").glob("*.jpg"))[:60]
    x = torch.stack([data.load_image(path, 224) for path in paths])
    y = torch.tensor([int(path.name.split("_")[0]) for path in paths])
    return Loaded(models.load("efficientnet-lite0"), x, y)


def _needed(root: Path | None) -> Path:
    if root is None:
        raise SystemExit("--root FOLDER, with the data that docs/studies.md names")
    return root


def _picked(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """That many, drawn always the same."""
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]
    return x[chosen], y[chosen]


def _accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    right = [gradients.predict(net, x[some]).argmax(1) == y[some] for some in _blocks(len(x))]
    return round(float(torch.cat(right).float().mean()), 4)


def _blocks(count: int) -> Sequence[Tensor]:
    return torch.arange(count).split(200)


def _fitted(
    make: Callable[[], nn.Module], x: Tensor, y: Tensor, *, steps: int, rate: float
) -> nn.Module:
    """A new network, trained on batches of 64 at Adam with a rate that falls to nothing; seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make().train()
        optimiser = torch.optim.Adam(net.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            some = torch.randint(len(x), (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[some]), y[some]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()
