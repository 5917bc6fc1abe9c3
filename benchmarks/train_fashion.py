"""Training objectives compared on Fashion-MNIST: accuracy, and do the maps hold?

python benchmarks/train_fashion.py --root FOLDER [--tier gpu] [--only scaat] [--seeds 0 1 2]
python benchmarks/train_fashion.py --markdown

RAR's CNN, one natural network per seed (fashion-mnist-TIER/start), which every method fine-tunes by
its shipped configuration (fashion-mnist-TIER/METHOD). In the CPU tier 250 steps of 64, inner
attacks of 5 steps by 2 points, m = 3, bfloat16; in the GPU tier 5 epochs of 256, inner attacks of
10 steps by 5 points, m = 5. Five methods have three seeds, the others one; natural-fast is natural
training at the learning rate of the adversarial methods, attributional-auto CACR + WACR with this
project's remedy for CACR. Both tiers are scaled down from the papers' settings and no reproduction
of them.

Each network is measured on the 10,000 test images (accuracy), the first 1000 (PGD, 20 steps of
0.01, epsilon 0.1), and on the first 200 (GPU tier 1000) that it gets right: maps are
IntegratedGradients (logit of the true class, baseline 0), k = 100, epsilon 0.1, TopK of 50 steps on
10 points (GPU tier 100 on 20; beta=None: finite differences are smooth enough, and the surrogate
would cost half as much again) whose five best iterates are scored anew with 100 points, and random
signs of the same size (one draw); Gini of these maps and of the gradient's, deletion and insertion
(32 steps, mean and blur) of the clean maps. Values of each image are kept, so that tables can be
taken on the images that every network gets right. Differences to the natural network of the same
seed have 95 % intervals from a bootstrap that draws images and seeds anew.

Weights and checkpoints are in runs/; a rerun goes on where the last one stopped, within a training,
too, and several processes may share the work (--only, --seeds, --parts). A step of each method is
timed with "--only seconds".
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import Subset

from resume import Jobs, study, table
from surefoot import attack, cli, data, explain, gradients, metric, models, train
from surefoot.attack import Linf, RandomSign, TopK
from surefoot.cli._train_options import CONFIGS

THRICE = ["natural", "pgd", "ig-sum-norm", "attributional", "scaat"]
ONCE = ["ig-norm", "attributional-auto", "saliency-guided", "alignment", "natural-fast"]
# What the papers say of the intersection, from the weakest to the strongest.
ORDER = ["natural", "pgd", "ig-norm", "ig-sum-norm", "attributional"]
PAIRS = [*pairwise(ORDER), ("attributional", "attributional-auto")]
EPSILON, K, PARTS = 0.1, 100, 4
FINE = explain.IntegratedGradients(steps=100)
SECONDS, INFLUENCE, ROUNDS = "seconds", "influence", 3
# The columns that have a value for each image, with their titles.
COLUMNS = {
    "left": "left under attack",
    "random left": "left under random signs",
    "kendall": "Kendall under attack",
    "random kendall": "Kendall under random signs",
    "gini": "Gini, IG",
    "gradient gini": "Gini, Gradient",
    "deletion": "deletion",
    "insertion": "insertion",
}
FIGURES = ["accuracy", "PGD accuracy", "left, its own images", "Kendall, its own images"]
FIGURES += ["label kept", "step, relative to natural"]
TERMS = ["network, CACR", "adversarial", "cacr", "wacr"]
Rows = dict[str, Any]


@dataclass(frozen=True)
class Tier:
    """How long networks train, and how hard their maps are attacked."""

    configs: str
    runs: Path
    accelerator: str
    attacked: int
    steps: int
    points: int
    prefix: str = ""
    """What tells its rows from those of the other tier."""

    @property
    def device(self) -> torch.device:
        """Where its networks are measured."""
        return torch.device("cuda" if self.accelerator == "gpu" else self.accelerator)

    def of(self, rows: Rows) -> Rows:
        """Its rows, by their names within the tier."""
        return {
            name.removeprefix(self.prefix): row
            for name, row in rows.items()
            if name.startswith(GPU.prefix) == (self is GPU)
        }


CPU = Tier(
    "fashion-mnist-cpu", Path("runs/train_fashion"), "cpu", attacked=200, steps=50, points=10
)
GPU = Tier(
    *("fashion-mnist-gpu", Path("runs/train_fashion-gpu"), "gpu"),
    attacked=1000,
    steps=100,
    points=20,
    prefix="gpu tier: ",
)
TIERS = {"cpu": CPU, "gpu": GPU}


@dataclass(frozen=True)
class Work:
    """What is measured of the networks of one tier."""

    tier: Tier
    root: str
    threads: int

    def trained(self, method: str, seed: int) -> nn.Module:
        """The network of that configuration and seed, trained now if it is not there."""
        weights = self._weights(method, seed)
        if not weights.exists():
            begin = [] if method == "start" else ["--weights", str(self._start(seed))]
            settings = ["--config", f"{self.tier.configs}/{method}", "--root", self.root]
            more = ["--out", str(weights.parent), "--resume", "--threads", str(self.threads)]
            more += ["--accelerator", self.tier.accelerator, "--seed", str(seed)]
            code = cli.main(["train", *settings, *more, *begin])
            if code:
                raise SystemExit(code)
        model = models.build("rar-cnn", classes=10)
        models.load_weights(model, weights)
        return model.eval().to(self.tier.device)

    def _weights(self, method: str, seed: int) -> Path:
        return self.tier.runs / f"{method}-{seed}" / "model.safetensors"

    def _start(self, seed: int) -> Path:
        """The weights that every method of that seed begins with."""
        self.trained("start", seed)
        return self._weights("start", seed)

    def digest(self, method: str, seed: int) -> str:
        """What tells one training of that configuration and seed from another."""
        return hashlib.sha256(self._weights(method, seed).read_bytes()).hexdigest()[:12]

    def tested(self) -> tuple[Tensor, Tensor]:
        """The test images and their labels."""
        test = data.load("fashion-mnist", "test", root=self.root)
        return test.inputs.to(self.tier.device), test.labels.to(self.tier.device)

    def figures(self, method: str, seed: int) -> Rows:
        """Train, and measure accuracy on the test images."""
        model = self.trained(method, seed)
        x, y = self.tested()
        pgd = attack.PGD(Linf(EPSILON, steps=20, step_size=0.01, random_start=True))
        return {
            "weights": self.digest(method, seed),
            "accuracy": float(right(model, x, y).float().mean()),
            "pgd accuracy": float(pgd(model, x[:1000], y[:1000]).robust.float().mean()),
        }

    def part(self, method: str, seed: int, number: int) -> Rows:
        """Maps of the part of that number of the first images that the network gets right."""
        model = self.trained(method, seed)
        # As many are right among the first 1.3 times as many, of every network here.
        x, y = (each[: self.tier.attacked * 13 // 10] for each in self.tested())
        found = right(model, x, y).nonzero()[: self.tier.attacked, 0]
        images = found.split(self.tier.attacked // PARTS)[number]
        return {
            "weights": self.digest(method, seed),
            "images": images.tolist(),
            **self.maps(model, x[images], y[images]),
        }

    def maps(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, list[float]]:
        """What is left of each image's map, and what the clean map is like."""
        run = TopK(Linf(EPSILON, steps=self.tier.steps), k=K, candidates=5, beta=None)
        rough = explain.IntegratedGradients(steps=self.tier.points)
        found = run(model, x, y, rough, score_with=FINE)
        clean = explain.reduce(found.before)
        signs = RandomSign(Linf(EPSILON), k=K)(model, x, y, explain.Gradient()).inputs
        random = explain.reduce(FINE(model, signs, y))
        values = {
            "left": found.scores["topk_intersection"],
            "kendall": found.scores["kendall"],
            "random left": metric.topk_intersection(clean, random, k=K),
            "random kendall": metric.kendall(clean, random),
            "label kept": found.label_kept.float(),
            "gini": metric.gini(clean),
            "gradient gini": metric.gini(explain.reduce(explain.Gradient()(model, x, y))),
            "deletion": metric.deletion(model, x, clean, y),
            "insertion": metric.insertion(model, x, clean, y),
        }
        return {name: [round(float(v), 4) for v in value] for name, value in values.items()}

    def influence(self) -> Rows:
        """The pull of each term of CACR + WACR on 128 training images, as released and remedied."""
        samples = data.load("fashion-mnist", "train", root=self.root)
        x, y = (each[:128].to(self.tier.device) for each in (samples.inputs, samples.labels))
        remedy = {"temperature": "auto", "cacr_weight": 0.01}
        ball: dict[str, Any] = {"epsilon": EPSILON, "steps": 5, "points": 3, "attack_points": 2}
        return {
            f"{method}, seed 0, {name}": train.influence(
                train.AttributionalRegularizers(**ball, weight=0.1, **settings),
                self.trained(method, 0),
                x,
                y,
                generator=torch.Generator().manual_seed(0),
            )
            for method in ("start", "attributional")
            for name, settings in {"as released": {}, f"{remedy}": remedy}.items()
        }

    def seconds(self) -> dict[str, float]:
        """Of one step of each method (one CPU thread): the median over rounds of all in turns."""
        torch.set_num_threads(1)
        few = Subset(data.load("fashion-mnist", "train", root=self.root), range(2048))
        taken: dict[str, list[float]] = {method: [] for method in THRICE + ONCE}
        for _ in range(ROUNDS):
            for method, each in taken.items():
                longer, shorter = (self._of_steps(steps, method, few) for steps in (4, 1))
                each.append((longer - shorter) / 3)
        return {method: round(statistics.median(each), 4) for method, each in taken.items()}

    def _of_steps(self, steps: int, method: str, samples: Subset[Any]) -> float:
        """Seconds of a run of so many steps by that method's configuration (CPU: of processor)."""
        settings = yaml.safe_load((CONFIGS / self.tier.configs / f"{method}.yaml").read_text())
        precision = settings.get("precision", "32-true")
        fabric = lightning_fabric.Fabric(accelerator=self.tier.accelerator, precision=precision)
        fabric.launch()
        loop = train.Loop(steps=steps, batch=settings["batch"], optimizer=settings["optimizer"])
        model = models.build(settings["model"], classes=10)
        objective = train.parse(settings["objective"])
        clock = time.process_time if self.tier is CPU else time.perf_counter
        began = clock()
        # It reads its last loss, and so waits for the device.
        train.fit(model, objective, samples, loop, fabric=fabric, progress=False)
        return clock() - began


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which labels the model predicts."""
    return gradients.predict(model, x).argmax(1) == y


def jobs(chosen: argparse.Namespace) -> Jobs:
    """Accuracies, then the maps of all networks part by part, then what a step costs."""
    plan = [(method, seed) for seed in chosen.seeds for method in THRICE]
    plan += [(method, seed) for method in ONCE for seed in chosen.seeds if seed == 0]
    plan = [(method, seed) for method, seed in plan if chosen.only in (None, method)]
    tier = TIERS[chosen.tier]
    work = Work(tier, chosen.root, chosen.threads)
    found: Jobs = {f"{m}, seed {seed}": partial(work.figures, m, seed) for m, seed in plan}
    for number in range(chosen.parts):
        for m, seed in plan:
            found[f"{m}, seed {seed}, part {number}"] = partial(work.part, m, seed, number)
    if chosen.only in (None, INFLUENCE):
        found[INFLUENCE] = work.influence
    if chosen.only in (None, SECONDS):
        found[SECONDS] = work.seconds
    return {tier.prefix + name: run for name, run in found.items()}


def joined(done: Rows) -> Rows:
    """One row for each network that was explained: its figures, and the values of all its parts."""
    networks: Rows = {}
    for name in sorted(done):
        network, _, number = name.partition(", part ")
        if number:
            row = networks.setdefault(network, dict(done[network]))
            if done[name]["weights"] != row["weights"]:
                raise SystemExit(f"{name} is of another training than {network}: remove its rows")
            for column in ("images", "label kept", *COLUMNS):
                row[column] = row.get(column, []) + done[name][column]
    return networks


def split(name: str) -> tuple[str, int]:
    """Method and seed of a network's name."""
    method, _, seed = name.partition(", seed ")
    return method, int(seed)


def shared(done: Rows) -> list[int]:
    """The images that every network gets right."""
    return sorted(set.intersection(*(set(row["images"]) for row in done.values())))


def values(row: Rows, column: str, images: Sequence[int]) -> list[float]:
    """A column of the images asked for."""
    known = dict(zip(row["images"], row[column], strict=True))
    return [known[image] for image in images]


def difference(done: Rows, method: str, other: str, column: str) -> str:
    """Mean difference on the shared images and the seeds that both have, with its interval."""
    everyone = shared(done)
    seeds = [seed for name in done for m, seed in [split(name)] if m == method]
    both = [seed for seed in seeds if f"{other}, seed {seed}" in done]
    mine, theirs = (
        np.array([values(done[f"{each}, seed {seed}"], column, everyone) for seed in both])
        for each in (method, other)
    )
    low, high = interval(mine - theirs)
    return f"{(mine - theirs).mean():+.3f} ({low:+.3f} to {high:+.3f})"


def interval(differences: np.ndarray, draws: int = 9999) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of (seeds, images), both drawn anew."""
    source = np.random.default_rng(0)
    seeds, images = differences.shape
    means = [
        differences[
            np.ix_(source.integers(seeds, size=seeds), source.integers(images, size=images))
        ].mean()
        for _ in range(draws)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def markdown(done: Rows) -> str:
    """The tables of each tier that has been run."""
    titled = {f"## {name.upper()} tier": tier.of(done) for name, tier in TIERS.items()}
    return "\n\n".join(f"{title}\n\n{tables(rows)}" for title, rows in titled.items() if rows)


def tables(done: Rows) -> str:
    """Means over images and seeds, differences to natural, and the order that the papers claim."""
    cost, pulls = done.get(SECONDS), done.get(INFLUENCE, {})
    done = joined(done)
    everyone = shared(done)
    methods = [m for m in THRICE + ONCE if any(split(name)[0] == m for name in done)]
    against = [
        [method, *(difference(done, method, "natural", column) for column in COLUMNS)]
        for method in methods
        if method != "natural" and "natural, seed 0" in done
    ]
    order = [
        [f"{later} - {earlier}", difference(done, later, earlier, "left")]
        for earlier, later in PAIRS
        if {earlier, later} <= set(methods)
    ]
    return "\n\n".join(
        [
            "All networks:",
            table(["method", "seeds", *FIGURES], [_figures(done, m, cost) for m in methods]),
            f"On the {len(everyone)} images that all networks get right:",
            table(["method", *COLUMNS.values()], [_means(done, m, everyone) for m in methods]),
            "Differences to the natural network of the same seed, on these images:",
            table(["method", *COLUMNS.values()], against),
            "The papers' order of what is left under attack, and CACR's remedy:",
            table(["pair", "difference"], order),
            "Norm of each weighted term's gradient in the parameters, CACR + WACR, 128 images:",
            table(
                TERMS,
                [[name, *(f"{v:.2g}" for v in each.values())] for name, each in pulls.items()],
            ),
        ]
    )


def _of(done: Rows, method: str) -> list[Rows]:
    return [row for name, row in done.items() if split(name)[0] == method]


def _figures(done: Rows, method: str, cost: dict[str, float] | None) -> list[Any]:
    rows = _of(done, method)
    figures = [
        float(np.mean([np.mean(row[column]) for row in rows]))
        for column in ("accuracy", "pgd accuracy", "left", "kendall", "label kept")
    ]
    known = cost is not None and method in cost
    relative = round(cost[method] / cost["natural"], 1) if known else ""
    return [method, len(rows), *figures, relative]


def _means(done: Rows, method: str, images: Sequence[int]) -> list[Any]:
    rows = _of(done, method)
    return [method, *(float(np.mean([values(r, c, images) for r in rows])) for c in COLUMNS)]


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--tier", choices=TIERS, default="cpu")
    parser.add_argument("--only", choices=[*THRICE, *ONCE, SECONDS, INFLUENCE], help="one method")
    parser.add_argument("--parts", type=int, default=PARTS, help="how many of the 4")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])


if __name__ == "__main__":
    study(__doc__, "train_fashion", jobs, markdown, options=options)
