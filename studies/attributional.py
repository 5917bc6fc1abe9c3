"""Attributional robustness: CACR + WACR (arXiv 2012.14395) beside all that it is compared with.

Narrow tier: RAR's CNN with widths 8 and 16 and 128 hidden units, trained from scratch for 4,000
steps of 64 at Adam 1e-3 with cosine decay. Every objective has its published weight; where a paper
gives none, it is this project's choice and said in the objective's docstring.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn import datasets

from studies._cells import Cell
from studies._claims import Claim, difference
from studies._networks import Length, Measures, Task, cell
from studies._page import Study
from surefoot import attack, data, explain, metric, train
from surefoot.attack import Linf
from surefoot.data import Samples

TOPK = "ig | topk | topk_intersection"
HARD = "ig | ensemble | topk_intersection"
NARROW = {"widths": (8, 16), "hidden": 128}
LENGTHS = {
    "full": Length(),
    "smoke": Length(steps=100, batch=32, images=12, hard=6, accuracy=100, attack_steps=3),
}
BASELINES = ("pgd", "trades", "ig-norm", "ig-sum-norm", "art", "igr", "r2et")


def objectives(epsilon: float) -> dict[str, train.Objective]:
    """The arms, in a ball of that size."""
    ball: dict[str, Any] = {"epsilon": epsilon, "steps": 7, "step_size": 0.25 * epsilon}
    path: dict[str, Any] = {**ball, "steps": 5, "points": 3, "attack_points": 3}
    pgd = train.PGD(**ball)
    trades = train.TRADES(**{**ball, "step_size": 0.07 * epsilon})
    return {
        "natural": train.Natural(),
        "pgd": pgd,
        "trades": trades,
        "ig-norm": train.IGNorm(**path, weight=1.0),
        "ig-sum-norm": train.IGSumNorm(**path, weight=0.1),
        "art": train.InputGradientAlignment(epsilon, step_size=epsilon * 5 / 8),
        "igr": train.IGR(pgd, points=5),
        "igr-trades": train.IGR(trades, points=5),
        "r2et": train.R2ET(),
        "cacr": train.AttributionalRegularizers(**path, weight=0.1, wacr_weight=0),
        "wacr": train.AttributionalRegularizers(**path, weight=0.1, cacr_weight=0),
        "cacr-wacr": train.AttributionalRegularizers(**path, weight=0.1),
        "scaat": train.SCAAT(epsilon, steps=5),
        "attributional-at": train.AttributionalAT(
            train.PGD(epsilon, steps=5, step_size=0.5 * epsilon), weight=15
        ),
    }


def measures(task: Task, length: Length) -> Measures:
    """Maps, and three attacks on them: RAR's protocol, the default, the strongest."""
    steps, epsilon = length.attack_steps, task.epsilon
    budget = Linf(epsilon, steps=steps)
    rar = Linf(epsilon, steps=2 * steps, step_size=epsilon / 10)
    return Measures(
        explainers={"ig": explain.IntegratedGradients(steps=20), "gradient": explain.Gradient()},
        attacks={
            "topk": attack.TopK(budget, k=task.k),
            "rar": attack.TopK(rar, k=task.k, beta=1.0, keep="kendall"),
        },
        metrics=[metric.get("topk_intersection", k=task.k), "kendall", "gini"],
        hard={
            "ensemble": attack.Ensemble(
                Linf(epsilon, steps=min(20, steps)), k=task.k, effort="quick"
            )
        },
    )


def tasks(size: str, root: Path | None) -> list[Task]:
    """The data sets with their networks."""
    if size == "smoke":
        return [Task("digits", _digits, "rar-cnn", {**NARROW, "size": 8}, 0.1, k=10)]
    return [
        _task("fashion-mnist", "fashion-mnist", root, 0.1),
        _task("mnist", "mnist", root, 0.3),
        _task("gtsrb", "arrays:gtsrb32.npz", root, 8 / 255, channels=3, size=32),
        _task("colorectal", "arrays:colorectal48.npz", root, 8 / 255, channels=3, size=48),
    ]


def _task(name: str, source: str, root: Path | None, epsilon: float, **options: Any) -> Task:
    return Task(name, partial(_load, source, root), "rar-cnn", {**NARROW, **options}, epsilon)


def _load(source: str, root: Path | None, split: str) -> Samples:
    return data.load(source, split, root=root).samples()


def _digits(split: str) -> Samples:
    found = datasets.load_digits()
    pixels = torch.from_numpy(found.images / 16).float()[:, None]
    names = tuple(str(digit) for digit in range(10))
    whole = Samples(pixels, torch.from_numpy(found.target), names, name=f"digits/{split}")
    return whole.take(slice(1400) if split == "train" else slice(1400, None))


def cells(size: str, root: Path | None) -> list[Cell]:
    """All networks: first seed 0 of each data set, then the others."""
    length, found = LENGTHS[size], []
    known = tasks(size, root)
    for seed in (0,) if size == "smoke" else (0, 1, 2):
        for task in known:
            for arm, objective in objectives(task.epsilon).items():
                if size == "full" or arm in ("natural", "pgd", "attributional-at"):
                    asked = measures(task, length)
                    found.append(cell(task, arm, objective, seed, length, asked))
    return found


def _best_baseline(results: Any) -> Any:
    """CACR + WACR against the published baseline that keeps most under the default attack."""
    effects = [difference("cacr-wacr", arm, TOPK)(results) for arm in BASELINES]
    known = [effect for effect in effects if effect is not None]
    return min(known, key=lambda effect: effect.mean) if known else None


STUDY = Study(
    name="attributional",
    title="Attributional robustness: do maps survive an attack?",
    about=__doc__ or "",
    columns={
        "left of the top 100": TOPK,
        "under RAR's protocol": "ig | rar | topk_intersection",
        "under the ensemble": HARD,
        "random signs": "ig | random signs | topk_intersection",
        "Kendall": "ig | topk | kendall",
        "Gini, Gradient": "gradient | clean | gini",
    },
    claims=[
        Claim(
            "CACR + WACR leaves 3 points more than the best baseline",
            "arXiv 2012.14395, abstract",
            _best_baseline,
            0.03,
        ),
        Claim(
            "IG-SUM-NORM leaves more than PGD",
            "RAR, arXiv 1905.09957",
            difference("ig-sum-norm", "pgd", TOPK),
        ),
        Claim(
            "IGR leaves more than PGD", "arXiv 2205.07279, abstract", difference("igr", "pgd", TOPK)
        ),
        Claim(
            "WACR adds to PGD what CACR does not",
            "this project's question",
            difference("wacr", "cacr", TOPK),
        ),
        Claim(
            "AttributionalAT leaves 12 points more than IGR under the ensemble",
            "this project's goal",
            difference("attributional-at", "igr", HARD),
            0.12,
        ),
    ],
)
