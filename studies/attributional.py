"""Attributional robustness: CACR + WACR (arXiv 2012.14395) beside all that it is compared with.

Narrow tier: RAR's CNN with widths 8 and 16 and 128 hidden units, trained from scratch for 4,000
steps of 64 at Adam 1e-3 with cosine decay. Every objective has its published weight; where a paper
gives none, it is this project's choice and said in the objective's docstring.
"""

from pathlib import Path
from typing import Any

from studies._attacks import on_maps
from studies._cells import Cell
from studies._claims import Claim, difference
from studies._networks import Length, Measures, cell
from studies._page import Study
from studies._tasks import Task, smoke, tasks
from surefoot import explain, metric, train

TOPK = "ig | topk | topk_intersection"
HARD = "ig | ensemble | topk_intersection"
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
            train.PGD(epsilon, steps=5, step_size=0.5 * epsilon), weight=30
        ),
    }


def measures(task: Task, length: Length) -> Measures:
    """Maps, and three attacks on them: RAR's protocol, the default, the strongest."""
    steps = length.attack_steps
    known = on_maps(task, steps, min(20, steps))
    return Measures(
        explainers={"ig": explain.IntegratedGradients(steps=20)},
        clean={"gradient": explain.Gradient()},
        attacks={"topk": known.topk, "rar": known.rar},
        metrics=[metric.get("topk_intersection", k=task.k), "kendall", "gini"],
        hard={"ensemble": known.ensemble},
    )


def cells(size: str, root: Path | None) -> list[Cell]:
    """All networks: first seed 0 of each data set, then the others."""
    length, known = LENGTHS[size], [smoke()] if size == "smoke" else tasks(root)
    return [
        cell(task, arm, objective, seed, length, measures(task, length))
        for seed in ((0,) if size == "smoke" else (0, 1, 2))
        for task in known
        for arm, objective in objectives(task.epsilon).items()
        if size == "full" or arm in ("natural", "pgd", "attributional-at")
    ]


def _against(arm: str, other: str, column: str) -> Any:
    return difference(f"{arm} > {column}", f"{other} > {column}")


def _best_baseline(results: Any) -> Any:
    """CACR + WACR against the published baseline that keeps most under the default attack."""
    effects = [_against("cacr-wacr", arm, TOPK)(results) for arm in BASELINES]
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
            _against("ig-sum-norm", "pgd", TOPK),
        ),
        Claim(
            "IGR leaves more than PGD", "arXiv 2205.07279, abstract", _against("igr", "pgd", TOPK)
        ),
        Claim(
            "WACR adds to PGD what CACR does not",
            "this project's question",
            _against("wacr", "cacr", TOPK),
        ),
        Claim(
            "AttributionalAT leaves 12 points more than IGR under the ensemble",
            "this project's goal",
            _against("attributional-at", "igr", HARD),
            0.12,
        ),
    ],
)
