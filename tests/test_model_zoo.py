"""The trained networks that come with the package."""

import pytest
import torch

from surefoot import models, train
from surefoot.models._saved import CARD, WEIGHTS, ZOO

CENTRAL = [
    *("natural", "pgd", "scaat", "saliency-guided"),
    *("ig-norm", "ig-sum-norm", "attributional", "alignment"),
]
LIMIT = 5_000_000


def test_the_central_eight_come_with_the_package():
    assert set(models.cards()) == {f"fashion-mnist/{name}" for name in CENTRAL}


@pytest.mark.parametrize("name", CENTRAL)
def test_a_network_of_the_zoo_loads_and_tells_how_it_came(name):
    model = models.load(f"fashion-mnist/{name}")
    assert not model.training
    logits = model(torch.rand(2, 1, 28, 28))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    labels = models.card(model).labels
    assert labels is not None
    assert labels[9] == "Ankle boot"

    card = models.cards()[f"fashion-mnist/{name}"]
    assert card["command"] == f"surefoot train --config fashion-mnist-cpu/{name} --seed 0"
    assert card["note"].startswith("Scaled down")
    assert {"versions", "held_out", "validation"} <= set(card)
    assert card["options"]["data"] == "fashion-mnist"
    assert train.parse(card["options"]["objective"])
    assert card["figures"]["accuracy"] > 0.7
    assert abs(card["figures"]["accuracy"] - card["accuracy_before_rounding"]) < 0.01

    folder = ZOO / "fashion-mnist" / name
    assert sum((folder / file).stat().st_size for file in (CARD, WEIGHTS)) < LIMIT
