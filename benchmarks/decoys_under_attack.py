"""DANCE's claim under test: do decoy-enhanced maps hold better than plain ones?

python benchmarks/decoys_under_attack.py [--only Gradient] [--markdown]

DANCE (arXiv 2002.00526, 4.3) compares the sensitivity SS of plain and decoy-enhanced maps under
three attacks, and does not say which map was attacked. Here each attack is run against the plain
map (and its result scored on the decoy map: transferred) and against the decoy map itself
(adaptive), beside random signs of the same size. 12 labelled photographs for Gradient, at 128
pixels, 4 for IntegratedGradients (8 points) and SmoothGrad (8 draws), at 96 pixels: the first ones
that the network gets right at that size. The sizes are below the network's own 224 because a
photograph takes minutes; they are constants below. epsilon 1/255, 10 steps, k 2 % of the places,
sum of absolutes. SS is that of heat maps in [0, 1] (95th percentile, input in [0, 1]), with the
clean heat map's norm beside it. Decoys that score have another seed than those attacked. Rows are
written one by one; a rerun goes on where the last one stopped. For IntegratedGradients the share
of the decoy map that Target brings into its region is measured, too.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from resume import Jobs, correct_photographs, mean, study, table
from surefoot import attack, explain, metric, models
from surefoot.attack import Linf, MassCenter, RandomSign, TopK
from surefoot.explain import Explainer

SEED, K, EPSILON, STEPS, FEW = 0, 0.02, 1 / 255, 10, 4
SMOOTH = explain.SmoothGrad(explain.Gradient(), samples=8, std=0.15, seed=SEED)
BASES: dict[str, tuple[Explainer, int, int, int]] = {
    # the map, photographs, their side in pixels, decoys drawn a step
    "Gradient": (explain.Gradient(), 12, 128, 8),
    "IntegratedGradients": (explain.IntegratedGradients(steps=8), FEW, 96, 4),
    "SmoothGrad": (SMOOTH, FEW, 96, 4),
}
REGION, REGION_OF = ["clean", "transferred", "adaptive"], "IntegratedGradients"
ATTACKS = {"TopK": TopK, "MassCenter": MassCenter, "Target": attack.Target}


class Judge:
    """One photograph's clean maps, and what is left of them at another input."""

    def __init__(self, model: nn.Module, image: Tensor, base: Explainer) -> None:
        self.model, self.image = model, image
        self.target = model(image).argmax(1)
        self.explainers = {"plain": base, "decoy": explain.Decoy(base, seed=SEED + 1)}
        self.clean = {kind: self.map(kind, image) for kind in self.explainers}

    def map(self, kind: str, inputs: Tensor) -> Tensor:
        """The unreduced map."""
        return self.explainers[kind](self.model, inputs, self.target)

    def scores(self, kind: str, inputs: Tensor) -> dict[str, float]:
        """Similarity to the clean map and SS; an unmoved input counts as unchanged."""
        clean, moved = self.clean[kind], self.map(kind, inputs)
        a, b = explain.reduce(clean), explain.reduce(moved)
        h, h2 = explain.heatmap(clean), explain.heatmap(moved)
        ss = metric.sensitivity(h, h2, self.image, inputs).nan_to_num(nan=0.0)
        found = {
            "left": metric.topk_intersection(a, b, k=K),
            "kendall": metric.kendall(a, b),
            "centre shift": metric.mass_centre_shift(a, b),
            "SS": ss,
            "norm": h.flatten(1).norm(dim=1),
        }
        return {name: round(float(value), 4) for name, value in found.items()}


def photograph(model: nn.Module, image: Tensor, name: str) -> dict[str, Any]:
    """Every attack on one photograph's maps of one base explainer, and random signs."""
    base, _, _, subset = BASES[name]
    judge = Judge(model, image[None], base)
    signs = RandomSign(Linf(EPSILON), k=K, seed=SEED)(model, image[None], judge.target, base).inputs
    row: dict[str, Any] = {"random": {kind: judge.scores(kind, signs) for kind in judge.clean}}
    attacked = {"plain": base, "decoy": explain.Decoy(base, seed=SEED)}
    for attack_name, make in ATTACKS.items():
        for victim, e in attacked.items():
            # Scores are taken here, once: a plain map is the cheapest to have the attack score.
            run = make(
                Linf(EPSILON, steps=STEPS),
                k=K,
                seed=SEED,
                subset=subset,
                beta="auto" if victim == "decoy" else None,
            )
            result = run(model, image[None], judge.target, e, score_with=explain.Gradient())
            row[f"{attack_name} on {victim}"] = {
                "label kept": bool(result.label_kept),
                **{kind: judge.scores(kind, result.inputs) for kind in judge.clean},
            }
    return row


def region(model: nn.Module, image: Tensor, name: str) -> dict[str, float]:
    """Target's own score of the decoy map, the region's share of it: clean, and both ways."""
    base, _, _, subset = BASES[name]
    fresh = explain.Decoy(base, seed=SEED + 1)
    target, budget = model(image[None]).argmax(1), Linf(EPSILON, steps=STEPS)
    transferred = attack.Target(budget, k=K, beta=None)(
        model, image[None], target, base, score_with=fresh
    )
    adaptive = attack.Target(budget, k=K, subset=subset)(
        model, image[None], target, explain.Decoy(base, seed=SEED)
    )
    held = explain.reduce(transferred.before)
    shares = {"clean": held[:, -4:, -4:].sum() / held.sum()}
    shares |= {
        way: result.scores["region_mass"]
        for way, result in {"transferred": transferred, "adaptive": adaptive}.items()
    }
    return {way: round(float(value), 5) for way, value in shares.items()}


def jobs(model: nn.Module, only: str | None) -> Jobs:
    """What is measured, by name."""
    found: Jobs = {}
    for name, (_, count, size, _) in BASES.items():
        if only in (None, name):
            photographs = correct_photographs(model, size)[:count]
            for photo, image in photographs:
                found[f"{name}, {photo}, {size} pixels"] = partial(photograph, model, image, name)
            if name == REGION_OF:
                for photo, image in photographs:
                    found[f"region, {name}, {photo}"] = partial(region, model, image, name)
    return found


def markdown(done: dict[str, Any]) -> str:
    """Means over the photographs: a line an explainer, an attack and what it attacks."""
    lines = []
    for name in BASES:
        some = [row for job, row in done.items() if job.startswith(f"{name}, ")]
        for case in some[0] if some else []:
            means = [
                mean([row[case][kind][score] for row in some])
                for kind in ("plain", "decoy")
                for score in ("left", "SS")
            ]
            wins = sum(row[case]["decoy"]["SS"] < row[case]["plain"]["SS"] for row in some)
            lines.append([name, case, len(some), *means, f"{wins} of {len(some)}"])
    head = ["map", "attack", "photographs", "plain: left", "plain: SS", "decoy: left"]
    own = [
        [job.partition(", ")[2], *row.values()]
        for job, row in done.items()
        if job.startswith("region")
    ]
    return "\n\n".join(
        [
            table([*head, "decoy: SS", "decoy SS lower"], lines),
            table(["Target's region, share of the decoy map", *REGION], own),
        ]
    )


if __name__ == "__main__":
    study(
        __doc__,
        "decoys_under_attack",
        lambda chosen: jobs(models.load("efficientnet-lite0"), chosen.only),
        markdown,
        options=lambda parser: parser.add_argument(
            "--only", choices=list(BASES), help="one base explainer"
        ),
    )
