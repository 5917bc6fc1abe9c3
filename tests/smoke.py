"""Does an installed surefoot work, without its repository? `python smoke.py` in an empty folder.

Imports every package, then makes maps, decoys, attacks, metrics, a certificate and a training step
on a small network. Run by the release check in clean environments; needs torch and numpy only.
"""

import importlib
import importlib.metadata
import sys
from pathlib import Path

import torch
from torch import nn

import surefoot
from surefoot import attack, auditing, certify, decoy, explain, metric, models, testing, train

PACKAGES = "attack auditing certify data decoy explain metric models report testing train"


def network() -> nn.Module:
    """From images (N, 3, 17, 17) to logits (N, 3)."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*convolutions, nn.Linear(216, 3)).eval()


def check(what: str, holds: object) -> None:
    """Say what was looked at, and stop where it does not hold."""
    print(f"{'ok' if holds else 'FAILED':8}{what}")
    if not holds:
        sys.exit(1)


def main() -> None:
    """All of it, some seconds."""
    here = Path(surefoot.__file__).resolve()
    check(f"{here.parent}, torch {torch.__version__}", "site-packages" in here.parts)
    check("version", importlib.metadata.version("surefoot") == surefoot.__version__)
    check("typed", (here.parent / "py.typed").is_file())
    for name in PACKAGES.split():
        importlib.import_module(f"surefoot.{name}")
    net, images = network(), torch.rand(2, 3, 17, 17, generator=torch.Generator().manual_seed(1))
    plain = explain.IntegratedGradients(steps=16)
    check("completeness", plain.completeness_gap(net, images).abs().max() < 0.05)
    check("recipes", explain.parse(repr(explain.Decoy(plain))) == explain.Decoy(plain))
    made = decoy.make_decoys(net, images, layer="1", decoys=8)
    check("decoys", made.deviation.max() <= 0.1 * (1 + 1e-4))
    budget = attack.Linf(4 / 255, steps=3)
    hurt = attack.TopK(budget, k=0.05)(net, images, None, explain.Gradient())
    check("attack", (hurt.inputs - images).abs().max() <= 4 / 255 + 1e-6)
    check("metric", (metric.spearman(hurt.before, hurt.before) - 1).abs().max() < 1e-6)
    low, high = certify.gradient_bounds(net, images, radius=1 / 2550)
    gradient = explain.Gradient()(net, images)
    check("certificate", bool(((low <= gradient) & (gradient <= high)).all()))
    loss = train.SCAAT(epsilon=4 / 255, steps=2)(net, images, net(images).argmax(1))
    loss.total.backward()
    check("training", all(each.grad is not None for each in net.parameters()))
    check("contract", testing.check_explainer(explain.Gradient(), net, images))
    check("networks", "rar-cnn" in models.names())
    check("audits", callable(auditing.audit))


if __name__ == "__main__":
    main()
