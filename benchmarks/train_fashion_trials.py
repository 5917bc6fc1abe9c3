"""What was tried before the settings of train_fashion.py were chosen, and what was tried after.

python benchmarks/train_fashion_trials.py --root FOLDER [--only IGNorm] [--markdown]

Each trial is one training of RAR's CNN on the first 55,000 training images (CPU, one thread,
bfloat16, Adam with a cosine schedule, seed 0) from the natural network of seed 0
(runs/train_fashion/start-0, which train_fashion.py makes) or from a trial before it. It is measured
on the other 5000: accuracy; on their first 200 PGD accuracy (10 steps, epsilon 0.1) and the Gini of
Gradient; on the first 40 that it gets right the share of the top 100 of IntegratedGradients (10
points) that TopK leaves (20 steps, epsilon 0.1), and Kendall's tau.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning_fabric
import torch
from torch import nn
from torch.utils.data import TensorDataset

from resume import Jobs, study, table
from surefoot import attack, data, explain, gradients, metric, models, train
from surefoot.attack import Linf, TopK
from surefoot.files import make_folder, write_whole
from surefoot.models._weights import save_weights

RUNS = Path("runs/train_fashion")
HELD_OUT = 5000
FIGURES = ["accuracy", "PGD accuracy", "Gini, Gradient", "left", "kendall"]
PATH = "points=3,attack_points=2"


@dataclass(frozen=True)
class Trial:
    """One training."""

    objective: str
    rate: float
    steps: int = 250
    batch: int = 64
    begin: str = "start"

    def name(self) -> str:
        """Of its row."""
        length = f"{self.steps} steps of {self.batch}"
        return f"{self.objective}, lr {self.rate}, {length}, from {self.begin}"


LONG = Trial("PGD(0.1,steps=5)", 2e-3, steps=1500, batch=128)
TRIALS = [
    *(Trial("PGD(0.1,steps=5)", rate) for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)),
    Trial("Natural()", 5e-4),
    *(Trial(f"SCAAT({more})", 5e-4) for more in ("0.03,steps=5", "0.05,steps=5")),
    *(Trial(f"SCAAT(0.1,steps=5,{m})", 5e-4) for m in ("stop_at_flip=True", "constraint='hard'")),
    Trial(f"IGSumNorm(0.1,steps=5,weight=1.0,{PATH})", 1e-3),
    Trial(f"IGNorm(0.1,steps=5,weight=5.0,{PATH})", 4e-3),
    Trial(f"AttributionalRegularizers(0.1,steps=5,weight=1.0,{PATH})", 4e-3),
    LONG,
    Trial("PGD(0.1,steps=5)", 1e-3, begin="long PGD"),
    Trial(f"IGSumNorm(0.1,steps=5,weight=1.0,{PATH})", 1e-3, begin="long PGD"),
    Trial(f"AttributionalRegularizers(0.1,steps=5,weight=1.0,{PATH})", 1e-3, begin="long PGD"),
]


def weights(begin: str) -> Path:
    """Of the network that a trial begins with."""
    return RUNS / {"start": "start-0", "long PGD": "long-pgd-0"}[begin] / "model.safetensors"


def run(trial: Trial, root: str) -> dict[str, float]:
    """Train and measure."""
    samples = data.load("fashion-mnist", "train", root=root)
    x, y = samples.inputs, samples.labels
    model = models.build("rar-cnn", classes=10)
    models.load_weights(model, weights(trial.begin))
    fabric = lightning_fabric.Fabric(accelerator="cpu", precision="bf16-mixed")
    fabric.launch()
    loop = train.Loop(
        steps=trial.steps,
        batch=trial.batch,
        optimizer=f"Adam(lr={trial.rate})",
        schedule="CosineAnnealingLR()",
    )
    few = TensorDataset(x[:-HELD_OUT], y[:-HELD_OUT])
    train.fit(model, train.parse(trial.objective), few, loop, fabric=fabric)
    if trial == LONG:
        write_whole(
            make_folder(weights("long PGD").parent) / weights("long PGD").name, save_weights(model)
        )
    return measured(model, x[-HELD_OUT:], y[-HELD_OUT:])


def measured(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """The figures of one network on held-out images."""
    right = gradients.predict(model, x).argmax(1) == y
    some = right.nonzero()[:40, 0]
    top = TopK(Linf(0.1, steps=20), k=100, beta=None)
    found = top(model, x[some], y[some], explain.IntegratedGradients(steps=10))
    robust = attack.PGD(Linf(0.1, steps=10))(model, x[:200], y[:200]).robust
    gini = metric.gini(explain.reduce(explain.Gradient()(model, x[:200], y[:200])))
    each = (right, robust, gini, found.scores["topk_intersection"], found.scores["kendall"])
    return {n: round(float(v.float().mean()), 4) for n, v in zip(FIGURES, each, strict=True)}


def jobs(chosen: argparse.Namespace) -> Jobs:
    """The trials asked for."""
    wanted = [t for t in TRIALS if chosen.only is None or t.name().startswith(chosen.only)]
    return {trial.name(): partial(run, trial, chosen.root) for trial in wanted}


def markdown(done: dict[str, Any]) -> str:
    """One table."""
    return table(
        ["trial", *FIGURES], [[name, *(row[f] for f in FIGURES)] for name, row in done.items()]
    )


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--only", help="trials whose name begins so")


if __name__ == "__main__":
    study(__doc__, "train_fashion_trials", jobs, markdown, options=options, threads=1)
