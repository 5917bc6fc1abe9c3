"""Words swapped for near ones: how much of a sentence's map is left, beside three controls.

python benchmarks/swap_words.py --root FOLDER [--markdown]

FOLDER holds the sentence polarity data set (`surefoot.data.load("sentence-polarity")` says what it
looks for). Kim's network with 50 numbers a word and 32 filters of each width, 4 epochs of Adam 2e-3
on fold 0, words that come less than twice unknown. 40 test sentences that it gets right; Gradient
and IntegratedGradients of 8 points, sum of absolutes over a word's numbers. Neighbours are the
nearest eight of the network's own embedding.

The protocol is that of Ivankay et al. (ICLR 2022): words in the order of what masking them does,
the worst neighbour that keeps the label; against random neighbours, random order, and both. "Four
runs" keep each sentence's worst of that order and three random ones. PCC is
Pearson's r of the two maps, "top 12" what is shared of the twelve largest of 40 places; lower is
more damage.
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from resume import Jobs, mean, study, table
from surefoot import data, explain, gradients, metric, models
from surefoot.attack import SwapWords

SEED, IMAGES, EPOCHS = 0, 40, 4
SHARES = (0.1, 0.25, 0.5)
EXPLAINERS = {
    "Gradient": explain.Gradient(),
    "IntegratedGradients": explain.IntegratedGradients(steps=8),
}
CHOICES = {
    "importance, worst": {},
    "four runs, worst": {"restarts": 4},
    "importance, random word": {"choice": "random"},
    "random order, worst": {"order": "random"},
    "random": {"order": "random", "choice": "random"},
}


def trained(root: str) -> tuple[models.Classifier, torch.Tensor, float]:
    """The network, sentences that it gets right, and its accuracy on the fold."""
    options: dict[str, Any] = {"root": root, "length": 40, "min_count": 2}
    train = data.load("sentence-polarity", "train", **options)
    test = data.load("sentence-polarity", "test", **options)
    torch.manual_seed(SEED)
    net = models.TextCNN(len(train.vocabulary), dimension=50, filters=32)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for some in torch.randperm(len(train.labels)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(train.stored[some]), train.labels[some]).backward()
            optimiser.step()
    model = models.Classifier(net.eval(), embedding="embedding").eval()
    right = gradients.predict(model, model.embed(test.stored)).argmax(1) == test.labels
    return model, test.stored[right][:IMAGES], float(right.float().mean())


def row(root: str, explainer: explain.Explainer) -> dict[str, Any]:
    """Each choice at each share of words."""
    model, tokens, accuracy = trained(root)
    words = (tokens != 0).sum(1)
    found: dict[str, Any] = {"accuracy": round(accuracy, 4), "sentences": len(tokens)}
    for share in SHARES:
        for name, choice in CHOICES.items():
            recipe = SwapWords(share, candidates=8, fixed=(1,), seed=SEED, **choice)
            r = recipe(model, tokens, None, explainer)
            found[f"{share:g}: {name}"] = {
                "pearson": mean(r.scores["pearson"].tolist()),
                "kendall": mean(r.scores["kendall"].tolist()),
                "top": mean(metric.topk_intersection(r.before, r.after, k=12).tolist()),
                "swapped": mean((r.changed.sum(1) / words).tolist()),
            }
    return found


def jobs(chosen: argparse.Namespace) -> Jobs:
    """A job for each explainer."""
    return {name: partial(row, chosen.root, e) for name, e in EXPLAINERS.items()}


def markdown(found: dict[str, Any]) -> str:
    """A line for each share and choice."""
    head = ["map", "share allowed", "words, neighbours", "swapped", "PCC", "Kendall", "top 12"]
    lines = [
        [name, *key.split(": "), *(each[key][s] for s in ("swapped", "pearson", "kendall", "top"))]
        for name, each in found.items()
        for key in each
        if ": " in key
    ]
    return table(head, lines)


if __name__ == "__main__":
    study(
        __doc__,
        "swap_words",
        jobs,
        markdown,
        options=lambda parser: parser.add_argument("--root", help="folder of the data set"),
        threads=1,
    )
