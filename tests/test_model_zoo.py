"""The trained networks whose cards come with the package, the weights of small ones beside them."""

import shlex

import pytest
import torch

from surefoot import models, train
from surefoot.models import CARD, WEIGHTS, ZOO, file_name
from surefoot.models._released import CHECKOUT

pytest.importorskip("jsonargparse")
from surefoot.cli import _train_options

CENTRAL = [
    *("natural", "pgd", "scaat", "saliency-guided"),
    *("ig-norm", "ig-sum-norm", "attributional", "alignment"),
]
LIMIT = 5_000_000
SMALL = [name for name in models.cards() if (ZOO / name / WEIGHTS).is_file()]
OF_RELEASE = pytest.mark.skipif(not CHECKOUT.is_dir(), reason="the files of a release are not here")


def test_the_central_eight_are_of_a_release_and_small_ones_come_with_the_package():
    assert set(models.cards()) - set(SMALL) == {f"fashion-mnist/{name}" for name in CENTRAL}
    assert "fashion-mnist/narrow-natural" in SMALL


def test_the_zoo_leaves_the_wheel_small():
    """3 MB packed; weights do not pack, and the code takes less than one of them."""
    sizes = {path: path.stat().st_size for path in ZOO.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 2_000_000
    assert max(sizes.values()) < 1_000_000


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_loads_by_name_and_has_its_place(name):
    model = models.load(name)
    told, card = models.card(model), models.cards()[name]
    shape = (told.channels, told.size, told.size)
    assert model(torch.rand(2, *shape)).shape == (2, len(told.labels))
    assert train.parse(card["method"])
    assert card["command"].startswith("python -m studies attributional --only ")
    assert card["standing"]["measured"]["accuracy"] > 0.5


@OF_RELEASE
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

    files = ZOO / "fashion-mnist" / name / CARD, CHECKOUT / file_name(f"fashion-mnist/{name}")
    assert sum(file.stat().st_size for file in files) < LIMIT


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
