"""The trained networks that come with the package."""

import shlex

import pytest
import torch

from surefoot import models, train
from surefoot.models._saved import CARD, WEIGHTS, ZOO

pytest.importorskip("jsonargparse")
from surefoot.cli import _train_options

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
    told = models.card(model)
    assert (told.size, told.channels) == (28, 1)
    assert told.labels is not None
    assert told.labels[9] == "Ankle boot"

    card = models.cards()[f"fashion-mnist/{name}"]
    assert card["note"].startswith("Scaled down")
    assert {"versions", "held_out", "validation"} <= set(card)
    assert card["options"]["data"] == "fashion-mnist"
    assert train.parse(card["options"]["objective"])
    assert card["figures"]["accuracy"] > 0.7
    assert abs(card["figures"]["accuracy"] - card["accuracy_before_rounding"]) < 0.01

    folder = ZOO / "fashion-mnist" / name
    assert sum((folder / file).stat().st_size for file in (CARD, WEIGHTS)) < LIMIT


@pytest.mark.parametrize("name", CENTRAL)
def test_the_commands_on_a_card_give_the_options_on_it(name):
    card = models.cards()[f"fashion-mnist/{name}"]
    start, own = (shlex.split(line)[2:] for line in card["command"].split(" && "))
    first, second = (_train_options.parser().parse_args(words) for words in (start, own))
    for option, value in card["options"].items():
        assert getattr(second, option) == value
    assert start[:2] == ["--config", "fashion-mnist-cpu/start"]
    assert first.seed == second.seed
    assert second.weights == f"{first.out}/model.safetensors"
