"""Saliency-constrained training (SCAAT, arXiv 2311.05143): sparser maps, and as faithful?

Networks are trained from scratch in the narrow tier. Beside SCAAT stand its controls: the same
adversary without the constraint (uniform), no adversary (saliency-guided training masks instead of
moving), and natural training at a higher learning rate, which makes maps sparser by itself.
Deletion and insertion are read beside the same curves in random order ("random map"). All settings
are this project's choice: the paper's text was not available.
"""

from pathlib import Path
from typing import Any

from studies._cells import Cell
from studies._claims import Claim, difference
from studies._networks import Length, Measures, cell
from studies._page import Study
from studies._tasks import Task, smoke, tasks
from surefoot import attack, explain, metric, train
from surefoot.attack import Linf

LENGTHS = {
    "full": Length(hard=0),
    "smoke": Length(steps=100, batch=32, images=12, hard=0, accuracy=100, attack_steps=3),
}


def objectives(epsilon: float) -> dict[str, tuple[train.Objective, dict[str, Any]]]:
    """The arms with what their loops differ in."""
    scaat: dict[str, Any] = {"steps": 5}
    fast = {"optimizer": "Adam(lr=0.004)"}
    return {
        "natural": (train.Natural(), {}),
        "natural-fast": (train.Natural(), fast),
        "scaat-third": (train.SCAAT(epsilon / 3, **scaat), {}),
        "scaat": (train.SCAAT(epsilon, **scaat), {}),
        "scaat-hard": (train.SCAAT(epsilon, constraint="hard", **scaat), {}),
        "uniform": (train.SCAAT(epsilon, constraint="uniform", **scaat), {}),
        "saliency-guided": (train.SaliencyGuided(), {}),
    }


def measures(task: Task, length: Length) -> Measures:
    """Clean maps, and the default attack on them."""
    budget = Linf(task.epsilon / 4, steps=length.attack_steps)
    curves = {
        f"{name}, {baseline}": metric.get(name, baseline=baseline)
        for name in ("deletion", "insertion")
        for baseline in ("mean", "blur")
    }
    overlap = metric.get("topk_intersection", k=task.k)
    return Measures(
        explainers={"gradient": explain.Gradient(), "ig": explain.IntegratedGradients(steps=20)},
        attacks={"topk": attack.TopK(budget, k=task.k)},
        metrics={"gini": "gini", "entropy": "entropy", **curves, "topk_intersection": overlap},
        hard={},
    )


def cells(size: str, root: Path | None) -> list[Cell]:
    """All networks: first seed 0 of each data set, then the others."""
    length, known = LENGTHS[size], [smoke()] if size == "smoke" else tasks(root)
    return [
        cell(task, arm, objective, seed, length, measures(task, length), **loop)
        for seed in ((0,) if size == "smoke" else (0, 1, 2))
        for task in known
        for arm, (objective, loop) in objectives(task.epsilon).items()
        if size == "full" or arm in ("natural", "scaat", "uniform")
    ]


def _claim(says: str, column: str, other: str = "natural", scale: float = 1.0) -> Claim:
    effect = difference(f"scaat > {column}", f"{other} > {column}", scale=scale)
    source = "arXiv 2311.05143" if other == "natural" else "control"
    return Claim(says, source, effect)


def _claims() -> list[Claim]:
    found = []
    for name in ("gradient", "ig"):
        clean = f"{name} | clean | "
        found += [
            _claim(f"{name}: SCAAT's maps are sparser than natural ones (Gini)", f"{clean}gini"),
            _claim(f"{name}: deletion is lower", f"{clean}deletion, mean", scale=-1),
            _claim(f"{name}: insertion is higher", f"{clean}insertion, mean"),
            _claim(f"{name}: sparser than with a uniform budget", f"{clean}gini", "uniform"),
            _claim(
                f"{name}: sparser than natural training at a higher rate",
                f"{clean}gini",
                "natural-fast",
            ),
            _claim(
                f"{name}: deletion is lower than saliency-guided training's",
                f"{clean}deletion, mean",
                "saliency-guided",
                -1,
            ),
            _claim(f"{name}: more is left under attack", f"{name} | topk | topk_intersection"),
        ]
    return found


STUDY = Study(
    name="saliency",
    title="Saliency-constrained training: sparser maps, and as faithful?",
    about=__doc__ or "",
    columns={
        "Gini, Gradient": "gradient | clean | gini",
        "Gini, IG": "ig | clean | gini",
        "deletion, Gradient": "gradient | clean | deletion, mean",
        "deletion, random order": "random map | clean | deletion, mean",
        "insertion, Gradient": "gradient | clean | insertion, mean",
        "deletion to blur": "gradient | clean | deletion, blur",
        "insertion from blur": "gradient | clean | insertion, blur",
        "left of the top k": "gradient | topk | topk_intersection",
    },
    claims=_claims(),
)
