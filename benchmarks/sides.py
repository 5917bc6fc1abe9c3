"""Both sides of the truth: the certified floor, and what the strongest attack leaves.

python benchmarks/sides.py [--markdown]

The digits network of benchmarks/ensemble.py, 16 images, top 12 of 64 places, L-inf, searches of 20
steps; random signs are the mean of 5 draws. "published" is RAR's released protocol: double backward
through softplus 1, steps of a tenth of the radius from a random point, the iterate of least Kendall
correlation.
"""

import math
from functools import partial
from typing import Any

from torch import nn

from ensemble import digits
from resume import Jobs, study, table
from surefoot import certify, explain
from surefoot.attack import Linf

RADII = (0.001, 0.003, 0.01, 0.03)
EXPLAINERS = {
    "Gradient": explain.Gradient(),
    "InputXGradient": explain.InputXGradient(),
    "IntegratedGradients": explain.IntegratedGradients(steps=4),
    "SmoothGrad": explain.SmoothGrad(samples=4, std=0.1),
    "Decoy": explain.Decoy(explain.Gradient(), patch=2, decoys=6, effort="fast"),
}


def row(explainer: explain.Explainer, radius: float) -> dict[str, float | None]:
    """The four means."""
    made, count = digits(nn.ReLU), 4 if isinstance(explainer, explain.Decoy) else 16
    budget, x = Linf(radius, steps=20), made.images[:count]
    found = certify.sides(made.model, x, None, explainer, budget, k=made.k)
    means = {name: round(value, 4) for name, value in found.means().items()}
    return {"images": count} | {name: None if math.isnan(v) else v for name, v in means.items()}


def jobs(_chosen: Any) -> Jobs:
    """A job for each map and radius."""
    return {
        f"{name}, {radius:g}": partial(row, explainer, radius)
        for name, explainer in EXPLAINERS.items()
        for radius in (RADII[:2] if name == "Decoy" else RADII)
    }


def markdown(found: dict[str, Any]) -> str:
    """A line for each."""
    head = ["map, radius", "images", "proved", "ensemble", "published", "random signs"]
    lines = [
        [name, *("none" if value is None else value for value in one.values())]
        for name, one in found.items()
    ]
    return table(head, lines)


if __name__ == "__main__":
    study(__doc__, "sides", jobs, markdown, threads=1)
