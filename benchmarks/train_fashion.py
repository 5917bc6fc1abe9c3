"""Training objectives compared on Fashion-MNIST: accuracy, and do the maps hold?

python benchmarks/train_fashion.py --root FOLDER [--only scaat] [--seeds 0 1 2] [--markdown]

The CPU tier of the comparison: RAR's CNN, one natural network per seed (fashion-mnist-cpu/start),
which every method fine-tunes by its shipped configuration (fashion-mnist-cpu/METHOD: 250 steps of
64, inner attacks of 5 steps by 2 points, m = 3, bfloat16; see those files). Five methods have
three seeds, the others one; natural-fast is natural training at the learning rate of the
adversarial methods. This is scaled down from the papers' settings and not a reproduction.

Each network is measured on the 10,000 test images (accuracy), the first 1000 (PGD, 20 steps of
0.01, epsilon 0.1), and on those of the first 260 that it gets right, at most 200: maps are
IntegratedGradients (logit of the true class, baseline 0), k = 100, epsilon 0.1, TopK of 50 steps
on 10 points (beta=None: finite differences smooth enough, and the surrogate would cost half as much
again) whose five best iterates are scored anew with 100 points, and random signs of the same size
(one draw); Gini of these maps and of the gradient's, deletion and insertion (32 steps, mean and
blur) of the clean maps. Values of each image are kept, so that tables can be taken on the images
that every network gets right. Differences to the natural network of the same seed have 95 %
intervals from a bootstrap that draws images and seeds anew.

Weights and checkpoints are in runs/train_fashion; a rerun goes on where the last one stopped, and
several processes may share the work (--only, --seeds, --parts). A step of each method is timed with
"--only seconds".
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Sequence
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

RUNS = Path("runs/train_fashion")
THRICE = ["natural", "pgd", "ig-sum-norm", "attributional", "scaat"]
ONCE = ["ig-norm", "saliency-guided", "alignment", "natural-fast"]
# What the papers say of the intersection, from the weakest to the strongest.
ORDER = ["natural", "pgd", "ig-norm", "ig-sum-norm", "attributional"]
EPSILON, K, TRIED, ATTACKED, PART = 0.1, 100, 260, 200, 50
ROUGH, FINE = explain.IntegratedGradients(steps=10), explain.IntegratedGradients(steps=100)
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


def folder(method: str, seed: int) -> Path:
    """Where a run of that configuration and seed is written."""
    return RUNS / f"{method}-{seed}"


def trained(method: str, seed: int, root: str, threads: int) -> nn.Module:
    """The network of that configuration and seed, trained now if it is not there."""
    out = folder(method, seed)
    weights = out / "model.safetensors"
    if not weights.exists():
        begin = [] if method == "start" else ["--weights", str(start(seed, root, threads))]
        settings = ["--config", f"fashion-mnist-cpu/{method}", "--root", root, "--seed", str(seed)]
        more = ["--out", str(out), "--resume", "--threads", str(threads)]
        code = cli.main(["train", *settings, *more, *begin])
        if code:
            raise SystemExit(code)
    model = models.build("rar-cnn", classes=10)
    models.load_weights(model, weights)
    return model.eval()


def start(seed: int, root: str, threads: int) -> Path:
    """The weights that every method of that seed begins with."""
    trained("start", seed, root, threads)
    return folder("start", seed) / "model.safetensors"


def figures(method: str, seed: int, root: str, threads: int) -> Rows:
    """Train, and measure accuracy on the test images."""
    model = trained(method, seed, root, threads)
    x, y = tested(root)
    pgd = attack.PGD(Linf(EPSILON, steps=20, step_size=0.01, random_start=True))
    return {
        "weights": digest(method, seed),
        "accuracy": float(right(model, x, y).float().mean()),
        "pgd accuracy": float(pgd(model, x[:1000], y[:1000]).robust.float().mean()),
    }


def part(method: str, seed: int, number: int, root: str, threads: int) -> Rows:
    """Maps of the part of that number of the images that the network gets right."""
    model = trained(method, seed, root, threads)
    x, y = (each[:TRIED] for each in tested(root))
    images = right(model, x, y).nonzero()[:ATTACKED, 0].split(PART)[number]
    found = maps(model, x[images], y[images])
    return {"weights": digest(method, seed), "images": images.tolist(), **found}


def digest(method: str, seed: int) -> str:
    """What tells one training of that configuration and seed from another."""
    return hashlib.sha256((folder(method, seed) / "model.safetensors").read_bytes()).hexdigest()[
        :12
    ]


def tested(root: str) -> tuple[Tensor, Tensor]:
    """The test images and their labels."""
    test = data.load("fashion-mnist", "test", root=root)
    return test.inputs, test.labels


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which labels the model predicts."""
    return gradients.predict(model, x).argmax(1) == y


def maps(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, list[float]]:
    """What is left of each image's map, and what the clean map is like."""
    run = TopK(Linf(EPSILON, steps=50), k=K, candidates=5, beta=None)
    found = run(model, x, y, ROUGH, score_with=FINE)
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


def seconds(root: str) -> dict[str, float]:
    """Of one step of each method on one thread: the median over rounds of all in turns."""
    torch.set_num_threads(1)
    few = Subset(data.load("fashion-mnist", "train", root=root), range(256))
    taken: dict[str, list[float]] = {method: [] for method in THRICE + ONCE}
    for _ in range(ROUNDS):
        for method, each in taken.items():
            longer, shorter = (of_steps(steps, method, few) for steps in (4, 1))
            each.append((longer - shorter) / 3)
    return {method: round(statistics.median(each), 4) for method, each in taken.items()}


def of_steps(steps: int, method: str, samples: Subset[Any]) -> float:
    """Processor seconds of a run of so many steps by that method's configuration."""
    settings = yaml.safe_load((CONFIGS / "fashion-mnist-cpu" / f"{method}.yaml").read_text())
    fabric = lightning_fabric.Fabric(accelerator="cpu", precision=settings["precision"])
    fabric.launch()
    loop = train.Loop(steps=steps, batch=settings["batch"], optimizer=settings["optimizer"])
    model = models.build(settings["model"], classes=10)
    objective = train.parse(settings["objective"])
    began = time.process_time()
    train.fit(model, objective, samples, loop, fabric=fabric, progress=False)
    return time.process_time() - began


def influence(root: str, threads: int) -> Rows:
    """The pull of each term of CACR + WACR on 128 training images, as released and remedied."""
    samples = data.load("fashion-mnist", "train", root=root)
    x, y = samples.inputs[:128], samples.labels[:128]
    remedy = {"temperature": "auto", "cacr_weight": 0.01}
    ball: dict[str, Any] = {"epsilon": EPSILON, "steps": 5, "points": 3, "attack_points": 2}
    return {
        f"{method}, seed 0, {name}": train.influence(
            train.AttributionalRegularizers(**ball, weight=0.1, **settings),
            trained(method, 0, root, threads),
            x,
            y,
            generator=torch.Generator().manual_seed(0),
        )
        for method in ("start", "attributional")
        for name, settings in {"as released": {}, f"{remedy}": remedy}.items()
    }


def jobs(chosen: argparse.Namespace) -> Jobs:
    """Accuracies, then the maps of all networks part by part, then what a step costs."""
    plan = [(method, seed) for seed in chosen.seeds for method in THRICE]
    plan += [(method, seed) for method in ONCE for seed in chosen.seeds if seed == 0]
    plan = [(method, seed) for method, seed in plan if chosen.only in (None, method)]
    where = (chosen.root, chosen.threads)
    found: Jobs = {f"{m}, seed {seed}": partial(figures, m, seed, *where) for m, seed in plan}
    for number in range(chosen.parts):
        for m, seed in plan:
            name = f"{m}, seed {seed}, part {number}"
            found[name] = partial(part, m, seed, number, *where)
    if chosen.only in (None, INFLUENCE):
        found[INFLUENCE] = partial(influence, *where)
    if chosen.only in (None, SECONDS):
        found[SECONDS] = partial(seconds, chosen.root)
    return found


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
        for earlier, later in pairwise(ORDER)
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
            "The papers' order of what is left under attack:",
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
    relative = "" if cost is None else round(cost[method] / cost["natural"], 1)
    return [method, len(rows), *figures, relative]


def _means(done: Rows, method: str, images: Sequence[int]) -> list[Any]:
    rows = _of(done, method)
    return [method, *(float(np.mean([values(r, c, images) for r in rows])) for c in COLUMNS)]


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--only", choices=[*THRICE, *ONCE, SECONDS, INFLUENCE], help="one method")
    parser.add_argument("--parts", type=int, default=ATTACKED // PART, help="of 50 images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])


if __name__ == "__main__":
    study(__doc__, "train_fashion", jobs, markdown, options=options)
