"""PGD beside foolbox's: the accuracy that is left, with as many steps and restarts for both.

python benchmarks/prediction.py [--output benchmarks/results/prediction.json]

Two networks trained on scikit-learn's digits, two norms, five radii, two numbers of steps: 40
settings, on 300 digits that the network gets right. foolbox runs as it comes: with its own step
size, its random starts, and `repeat(3)`, of which it keeps the best; ours with `restarts=3`.
Needs foolbox with what it asks for (`pip install foolbox`), which the library does not.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import foolbox
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import surefoot
from surefoot import attack

RADII = {"Linf": (0.02, 0.05, 0.1, 0.15, 0.2), "L2": (0.2, 0.5, 0.8, 1.1, 1.5)}
BUDGETS = {"Linf": attack.Linf, "L2": attack.L2}
THEIRS = {"Linf": foolbox.attacks.LinfPGD, "L2": foolbox.attacks.L2PGD}
STEPS = (10, 40)
RESTARTS = 3


def digits() -> tuple[Tensor, Tensor]:
    """The pictures (1797, 1, 8, 8) in [0, 1] and their labels."""
    found = load_digits()
    return torch.tensor(found.images).float()[:, None] / 16, torch.tensor(found.target)


def trained(network: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """The network after 300 full-batch steps of Adam."""
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return network.eval()


def networks(images: Tensor, labels: Tensor) -> dict[str, nn.Module]:
    """A convolutional network of ReLUs, and one of SiLUs without convolutions."""
    torch.manual_seed(0)
    relu = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(288, 10)),
    )
    silu = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10))
    pairs = {"relu convolutions": relu, "silu layers": silu}
    return {name: trained(net, images, labels) for name, net in pairs.items()}


def ours(net: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, steps: int) -> float:
    """The accuracy left by `attack.PGD`."""
    budget = BUDGETS[norm](radius, steps=steps, restarts=RESTARTS)
    return float(attack.PGD(budget)(net, x, y).robust.float().mean())


def theirs(net: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, steps: int) -> float:
    """The accuracy left by foolbox's."""
    torch.manual_seed(0)
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    _, _, lost = THEIRS[norm](steps=steps).repeat(RESTARTS)(model, x, y, epsilons=radius)
    return float(1 - lost.float().mean())


def compared(net: nn.Module, x: Tensor, y: Tensor) -> list[dict[str, Any]]:
    """Every setting on one network."""
    rows = []
    for norm, radii in RADII.items():
        for radius, steps in product(radii, STEPS):
            setting = (net, x, y, norm, radius, steps)
            left = {"surefoot": ours(*setting), "foolbox": theirs(*setting)}
            rows.append({"norm": norm, "radius": radius, "steps": steps, **left})
    return rows


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/prediction.json"))
    options = parser.parse_args()
    images, labels = digits()
    started, rows = time.process_time(), []
    for name, net in networks(images[500:], labels[500:]).items():
        right = (net(images[:500]).argmax(1) == labels[:500]).nonzero()[:300, 0]
        rows += [{"network": name, **row} for row in compared(net, images[right], labels[right])]
    summary = {
        "settings": len(rows),
        "equal or better": sum(row["surefoot"] <= row["foolbox"] + 1e-6 for row in rows),
        "better": sum(row["surefoot"] < row["foolbox"] - 1e-6 for row in rows),
        "mean accuracy left": {
            who: round(sum(row[who] for row in rows) / len(rows), 4)
            for who in ("surefoot", "foolbox")
        },
    }
    versions = {"surefoot": surefoot.__version__, "foolbox": foolbox.__version__}
    found = {"summary": summary, "restarts": RESTARTS, "versions": versions, "rows": rows}
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(summary), f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
