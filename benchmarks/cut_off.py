"""What an evaluation says whose maps have lost their second order on the way.

python benchmarks/cut_off.py [--markdown]

An attack on a map climbs the slope of a similarity of two maps, which needs the derivative of a
gradient. A map that was made without a graph (`create_graph=False`, `.detach()`) still has a slope
where it is multiplied by the input, as integrated gradients are: nothing fails, and the attack
climbs that factor alone. A public evaluation has been made so. Here the same networks are evaluated
in both ways: a small convolutional network on scikit-learn's digits of 8 x 8 pixels, trained
naturally, adversarially (PGD, L-inf 0.1), and adversarially with IGR's cosine term (arXiv
2205.07279); 30 epochs of Adam 3e-3 each.

All columns: integrated gradients of 5 points, L-inf 0.1, 32 images that the network gets right,
cosine as what falls, 50 steps with 5 restarts, each sample's worst iterate. "cut off" and "whole"
are one attack by double backward with softplus 30 in place of ReLU; they differ in the graph alone.
"ensemble" is `attack.Ensemble(by="cosine")`. Scores are those of the network itself.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn

from resume import Jobs, mean, study, table
from surefoot import attack, gradients, train
from surefoot.attack import Dissimilarity, Ensemble, Linf, RandomSign
from surefoot.explain import Explainer, IntegratedGradients

SEED, EPSILON, K, IMAGES, EPOCHS = 0, 0.1, 12, 32, 30
MAP = IntegratedGradients(steps=5)
OBJECTIVES: dict[str, train.Objective] = {
    "natural": train.Natural(),
    "adversarial": train.PGD(EPSILON, steps=7, step_size=EPSILON / 4),
    "adversarial + cosine": train.IGR(train.PGD(EPSILON, steps=7, step_size=EPSILON / 4), points=5),
}


@dataclass(frozen=True, repr=False)
class CutOff(Explainer):
    """The same map with its gradients as constants: only the factor x has a slope."""

    def attribute(self, request: gradients.Query) -> Tensor:
        """Its values are those of the whole map."""
        mean_gradient = replace(MAP, multiply_by_inputs=False)
        return request.inputs * mean_gradient.attribute(replace(request, create_graph=False))


def trained(name: str) -> tuple[nn.Module, Tensor, float]:
    """The network, images that it gets right, and its accuracy on all held-out ones."""
    found = datasets.load_digits()
    x, y = torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target)
    torch.manual_seed(SEED)
    layers = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    net = nn.Sequential(*layers, nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for some in torch.randperm(1300).split(50):
            loss = OBJECTIVES[name](net, x[some], y[some])
            optimiser.zero_grad()
            loss.total.backward()
            optimiser.step()
    net.eval()
    right = gradients.predict(net, x[1300:]).argmax(1) == y[1300:]
    return net, x[1300:][right][:IMAGES], float(right.float().mean())


def row(name: str) -> dict[str, Any]:
    """A network as each attack finds it."""
    net, x, accuracy = trained(name)
    budget = Linf(EPSILON, steps=50, restarts=5)
    climb = Dissimilarity(budget, k=K, second_order="exact")
    attacks: dict[str, tuple[attack.AttributionAttack, Explainer]] = {
        "random signs": (RandomSign(replace(budget, restarts=1), k=K), MAP),
        "cut off": (climb, CutOff()),
        "whole": (climb, MAP),
        "ensemble": (Ensemble(replace(budget, restarts=1), k=K, by="cosine"), MAP),
    }
    found: dict[str, Any] = {"accuracy": round(accuracy, 4), "images": len(x)}
    for key, (run, explainer) in attacks.items():
        r: attack.AttackResult = run(net, x, None, explainer, score_with=MAP)
        found[key] = {score: mean(r.scores[score].tolist()) for score in SCORES}
        found[key]["kept"] = int(r.label_kept.sum())
    return found


SCORES = ("cosine", "kendall", "topk_intersection")


def jobs(_chosen: Any) -> Jobs:
    """A job for each network."""
    return {name: partial(row, name) for name in OBJECTIVES}


def markdown(found: dict[str, Any]) -> str:
    """A line for each network and score."""
    columns = ("random signs", "cut off", "whole", "ensemble")
    lines = [
        [name, each["accuracy"], score, *(each[column][score] for column in columns)]
        for name, each in found.items()
        for score in SCORES
    ]
    return table(["training", "accuracy", "score", *columns], lines)


if __name__ == "__main__":
    study(__doc__, "cut_off", jobs, markdown, threads=1)
