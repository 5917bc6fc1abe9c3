"""Does the attack work? Top-k attacks on the demo network's maps, beside random signs.

python benchmarks/attack_photographs.py [--photographs 17] [--markdown]

Every labelled photograph that the network gets right, top 1000 of 224 x 224, sum of absolutes,
label kept. Gradient is attacked and scored as it is; IntegratedGradients is attacked with 8 points
and scored with 16. An image with no label-kept iterate counts as unchanged (1). "random" is the
mean over draws of random signs of the same size. The last rows check finite differences against
double backward. Rows are written one by one; a rerun goes on where the last one stopped.
"""

import statistics
import time
from functools import partial
from typing import Any

from torch import Tensor, nn

from resume import Jobs, correct_photographs, mean, study, table
from surefoot import attack, explain, models
from surefoot.attack import Linf, RandomSign, TopK

K, SEED = 1000, 0
EPSILONS = [0.25, 0.5, 1, 2, 4, 8]  # of 255
SETTINGS: dict[str, dict[str, Any]] = {
    "Gradient": {
        "e": explain.Gradient(),
        "score_with": explain.Gradient(),
        "steps": 15,
        "draws": 20,
    },
    "IntegratedGradients": {
        "e": explain.IntegratedGradients(steps=8),
        "score_with": explain.IntegratedGradients(steps=16),
        "steps": 10,
        "draws": 20,
    },
}


def attacked(model: nn.Module, image: Tensor, name: str, epsilon: float) -> dict[str, Any]:
    """One photograph under the attack and under random signs."""
    setting = SETTINGS[name]
    budget = Linf(epsilon / 255, steps=setting["steps"])
    begun = time.perf_counter()
    found = TopK(budget, k=K, beta=None, seed=SEED)(
        model, image[None], None, setting["e"], score_with=setting["score_with"]
    )
    seconds = time.perf_counter() - begun
    control = Linf(epsilon / 255, restarts=setting["draws"])
    random = RandomSign(control, k=K, seed=SEED, trace=True)(
        model, image[None], None, setting["score_with"]
    )
    return {
        "left": round(float(found.scores["topk_intersection"]), 4),
        "label kept": bool(found.label_kept),
        "kendall": round(float(found.scores["kendall"]), 4),
        "random left": round(float(random.trace.mean()), 4),
        "random draws": setting["draws"],
        "steps": setting["steps"],
        "seconds": round(seconds, 1),
    }


def agreement(model: nn.Module, image: Tensor, e: explain.Explainer) -> dict[str, Any]:
    """How often finite differences and double backward give the same sign, and what each costs."""
    check = attack.check_second_order(model, image[None], None, e, k=K)
    seconds: dict[str, list[float]] = {"gradient": [], "finite": [], "exact": []}
    for _ in range(3):
        for way, took in seconds.items():
            took.append(_timed(model, image, e, way))
    unit = statistics.median(seconds.pop("gradient"))
    return {
        "same sign": round(float(check.sign), 5),
        "cosine": round(float(check.cosine), 6),
        "surrogate beta": check.beta,
    } | {
        f"{way}: a step in maps": round(statistics.median(s) / unit, 2)
        for way, s in seconds.items()
    }


def _timed(model: nn.Module, image: Tensor, e: explain.Explainer, way: str) -> float:
    """Seconds of one map, or of one step of the attack (the difference of 3 steps and 1)."""
    if way == "gradient":
        begun = time.perf_counter()
        e(model, image[None])
        return time.perf_counter() - begun
    took = []
    for steps in (1, 3):
        begun = time.perf_counter()
        TopK(Linf(1 / 255, steps=steps), k=K, second_order=way)(model, image[None], None, e)
        took.append(time.perf_counter() - begun)
    return (took[1] - took[0]) / 2


def jobs(model: nn.Module, count: int) -> Jobs:
    """What is measured, by name; the bars' radius comes first."""
    photographs = correct_photographs(model, 224)[:count]
    order = sorted(EPSILONS, key=lambda epsilon: epsilon != 1)
    found: Jobs = {
        f"{name}, {epsilon}/255, {photo}": partial(attacked, model, image, name, epsilon)
        for epsilon in order
        for name in SETTINGS
        for photo, image in photographs
        if name == "Gradient" or epsilon == 1
    }
    for photo, image in photographs[:3]:
        for e in (explain.Gradient(), explain.IntegratedGradients(steps=8)):
            found[f"second order, {type(e).__name__}, {photo}"] = partial(
                agreement, model, image, e
            )
    return found


def markdown(done: dict[str, Any]) -> str:
    """Means over the photographs, a line an explainer and epsilon."""
    lines = []
    for name in SETTINGS:
        for epsilon in EPSILONS:
            some = [row for job, row in done.items() if job.startswith(f"{name}, {epsilon}/255, ")]
            if some:
                left, random = (mean([row[key] for row in some]) for key in ("left", "random left"))
                kept = sum(row["label kept"] for row in some)
                lines.append([name, f"{epsilon:g}/255", len(some), kept, left, random])
    head = ["map", "epsilon", "photographs", "label kept", "left under attack", "random signs"]
    second = [
        [job.removeprefix("second order, "), *row.values()]
        for job, row in done.items()
        if job.startswith("second")
    ]
    columns = [
        "finite against exact",
        "same sign",
        "cosine",
        "beta",
        "finite: a step in maps",
        "exact: a step in maps",
    ]
    return table(head, lines) + "\n\n" + table(columns, second)


if __name__ == "__main__":
    study(
        __doc__,
        "attack_photographs",
        lambda chosen: jobs(models.load("efficientnet-lite0"), chosen.photographs),
        markdown,
        options=lambda parser: parser.add_argument("--photographs", type=int, default=17),
    )
