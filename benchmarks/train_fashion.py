"""Training objectives compared on Fashion-MNIST: accuracy, and do the maps hold?

python benchmarks/train_fashion.py --root FOLDER [--only scaat] [--seeds 0 1 2] [--markdown]

The CPU tier of the comparison: RAR's CNN, one natural network per seed (fashion-mnist-cpu/start),
which every method fine-tunes by its shipped configuration (fashion-mnist-cpu/METHOD: 250 steps of
128, inner attacks of 5 steps by 2 points, m = 3; see those files). Five methods have three seeds,
the others one. This is scaled down from the papers' settings and not a reproduction.

Each network is measured on the 10,000 test images (accuracy), the first 1000 (PGD, 20 steps of
0.01, epsilon 0.1), and on those of the first 260 that it gets right, at most 200: maps are
IntegratedGradients (logit of the true class, baseline 0), k = 100, epsilon 0.1, TopK of 50 steps
on 10 points whose five best iterates are scored anew with 100 points, and random signs of the same
size (5 draws); Gini, deletion and insertion (32 steps, mean and blur) of the clean maps. Values of
each image are kept, so that tables can be taken on the images that every network gets right.

Weights and checkpoints are in runs/train_fashion; a rerun goes on where the last one stopped.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor, nn

from resume import Jobs, study, table
from surefoot import attack, cli, data, explain, gradients, metric, models
from surefoot.attack import Linf, RandomSign, TopK

RUNS = Path("runs/train_fashion")
THRICE = ["natural", "pgd", "ig-sum-norm", "attributional", "scaat"]
ONCE = ["ig-norm", "saliency-guided", "alignment"]
EPSILON, K, TRIED, ATTACKED, DRAWS = 0.1, 100, 260, 200, 5
ROUGH, FINE = explain.IntegratedGradients(steps=10), explain.IntegratedGradients(steps=100)
# The columns that have a value for each image, with their titles.
COLUMNS = {
    "left": "left under attack",
    "random left": "left under random signs",
    "kendall": "Kendall under attack",
    "random kendall": "Kendall under random signs",
    "gini": "Gini",
    "deletion": "deletion",
    "insertion": "insertion",
}


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


def measured(method: str, seed: int, root: str, threads: int) -> dict[str, Any]:
    """Train, and measure on the test images."""
    model = trained(method, seed, root, threads)
    test = data.load("fashion-mnist", "test", root=root)
    x, y = test.inputs, test.labels
    pgd = attack.PGD(Linf(EPSILON, steps=20, step_size=0.01, random_start=True))
    right = gradients.predict(model, x).argmax(1) == y
    numbers = right[:TRIED].nonzero()[:ATTACKED, 0]
    parts = [maps(model, x[some], y[some]) for some in numbers.split(50)]
    return {
        "accuracy": float(right.float().mean()),
        "pgd accuracy": float(pgd(model, x[:1000], y[:1000]).robust.float().mean()),
        "images": numbers.tolist(),
        **{name: [v for part in parts for v in part[name]] for name in parts[0]},
    }


def maps(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, list[float]]:
    """What is left of each image's map, and what the clean map is like."""
    run = TopK(Linf(EPSILON, steps=50), k=K, candidates=5)
    found = run(model, x, y, ROUGH, score_with=FINE)
    clean = explain.reduce(found.before)
    random = [
        RandomSign(Linf(EPSILON), k=K, seed=seed)(model, x, y, FINE).scores for seed in range(DRAWS)
    ]
    values = {
        "left": found.scores["topk_intersection"],
        "kendall": found.scores["kendall"],
        "random left": torch.stack([one["topk_intersection"] for one in random]).mean(0),
        "random kendall": torch.stack([one["kendall"] for one in random]).mean(0),
        "label kept": found.label_kept.float(),
        "gini": metric.gini(clean),
        "deletion": metric.deletion(model, x, clean, y),
        "insertion": metric.insertion(model, x, clean, y),
    }
    return {name: [round(float(v), 4) for v in value] for name, value in values.items()}


def jobs(chosen: argparse.Namespace) -> Jobs:
    """The three-seed methods first, seed by seed."""
    plan = [(method, seed) for seed in chosen.seeds for method in THRICE]
    plan += [(method, chosen.seeds[0]) for method in ONCE]
    return {
        f"{method}, seed {seed}": partial(measured, method, seed, chosen.root, chosen.threads)
        for method, seed in plan
        if chosen.only in (None, method)
    }


def shared(done: dict[str, Any]) -> set[int]:
    """The images that every network gets right."""
    return set.intersection(*(set(row["images"]) for row in done.values()))


def values(row: dict[str, Any], column: str, images: set[int]) -> dict[int, float]:
    """A column of the images asked for."""
    known = zip(row["images"], row[column], strict=True)
    return {image: value for image, value in known if image in images}


def against_natural(done: dict[str, Any], method: str, column: str) -> str:
    """Mean difference to the natural network of the same seed, with a 95 % bootstrap interval.

    Images are paired, pooled over seeds, and resampled as clusters: an image with all its seeds.
    """
    everyone = shared(done)
    pairs: dict[int, list[float]] = {}
    for name, row in done.items():
        natural = done.get(f"natural, {name.partition(', ')[2]}")
        if name.startswith(f"{method}, ") and natural:
            mine, theirs = (values(each, column, everyone) for each in (row, natural))
            for image in everyone:
                pairs.setdefault(image, []).append(mine[image] - theirs[image])
    means = np.array([np.mean(each) for each in pairs.values()])
    interval = bootstrap((means,), np.mean, random_state=0).confidence_interval
    return f"{means.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def markdown(done: dict[str, Any]) -> str:
    """Means over images and seeds, on the images that all get right; then against natural."""
    everyone = shared(done)
    methods = [m for m in THRICE + ONCE if any(name.startswith(f"{m}, ") for name in done)]
    lines = []
    for method in methods:
        rows = [row for name, row in done.items() if name.startswith(f"{method}, ")]
        plain: list[Callable[[dict[str, Any]], float]] = [
            lambda row: row["accuracy"],
            lambda row: row["pgd accuracy"],
            *(partial(_mean, column, everyone) for column in COLUMNS),
        ]
        cells = [float(np.mean([cell(row) for row in rows])) for cell in plain]
        lines.append([method, len(rows), *cells])
    head = ["method", "seeds", "accuracy", "PGD accuracy", *COLUMNS.values()]
    against = [
        [method, *(against_natural(done, method, column) for column in COLUMNS)]
        for method in methods
        if method != "natural" and any(name.startswith("natural, ") for name in done)
    ]
    note = f"On the {len(everyone)} images that all networks get right:"
    return "\n\n".join(
        [note, table(head, lines), table(["less natural", *COLUMNS.values()], against)]
    )


def _mean(column: str, images: set[int], row: dict[str, Any]) -> float:
    return float(np.mean(list(values(row, column, images).values())))


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--only", choices=[*THRICE, *ONCE], help="one method")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])


if __name__ == "__main__":
    study(__doc__, "train_fashion", jobs, markdown, options=options)
