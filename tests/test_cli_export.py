"""`surefoot train --export`: the network, and what its card says of it."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from surefoot import models

pytest.importorskip("jsonargparse")
pytest.importorskip("lightning_fabric")
from surefoot.cli import _train_export, main, train as command

SMALL = (
    *("--data", "arrays:images.npz", "--hold-out", "10", "--batch", "8", "--accelerator", "cpu"),
    *("--model", "rar-cnn", "--model-options", "{widths: [2, 2], hidden: 4}"),
    *("--objective", "PGD(4/255, steps=1)", "--optimizer", "Adam(lr=0.001)", "--out", "run"),
    *("--adversary", "none", "--audit", "TopK(Linf(4/255, steps=1), k=5)", "--audited", "2"),
)
QUICK = ("--audit", "none")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a small data set."""
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    y = (x.mean((1, 2)) > 127.5).astype(np.int64)
    np.savez(tmp_path / "images.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_other_precisions_are_exported_in_single(here, precision):
    more = ("--steps", "2", "--precision", precision, "--mean", "[0.5]", "--export", "net")
    assert main(["train", *SMALL, *more]) == 0
    card = json.loads(Path("net/card.json").read_text())
    assert card["figures"].keys() >= {"accuracy", "kendall"}
    model = models.load("net")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = {"size": 8, "classes": 2, "widths": (2, 2), "hidden": 4}
    plain = models.load("rar-cnn", weights="run/model.safetensors", **settings)
    torch.testing.assert_close(model(images), plain(images), rtol=0.05, atol=0.05)


def test_a_card_is_written_whole_or_not_at_all(here, monkeypatch):
    def fails(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(_train_export, "_figures", fails)
    with pytest.raises(ZeroDivisionError):
        main(["train", *SMALL, "--steps", "2", "--export", "net"])
    assert not Path("net").exists()


def test_the_card_tells_the_images(here):
    resnet = ("--model", "resnet20", "--model-options", "null", "--steps", "1")
    assert main(["train", *SMALL, *resnet, *QUICK, "--export", "net"]) == 0
    card = models.card(models.load("net"))
    assert (card.size, card.channels) == (8, 1)


def told(card):
    """The options that the last command on a card gives."""
    *_, last = json.loads(Path(card).read_text())["command"].split(" && ")
    return command.parser().parse_args(shlex.split(last)[2:])


def test_the_command_on_a_card_makes_the_network_again(here):
    given = ("--config", "fashion-mnist-cpu/scaat", *SMALL, *QUICK, "--steps", "3", "--seed", "4")
    assert main(["train", *given, "--weights", "null", "--export", "net"]) == 0
    words = shlex.split(json.loads(Path("net/card.json").read_text())["command"])
    assert words[:5] == ["surefoot", "train", "--config", "fashion-mnist-cpu/scaat", "--seed"]
    assert "--optimizer" in words
    assert "--precision" not in words  # as the configuration has it
    assert (
        main([*words[1:], "--adversary", "none", *QUICK, "--accelerator", "cpu", "--out", "again"])
        == 0
    )
    one, two = (load_file(f"{out}/model.safetensors") for out in ("run", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_the_command_on_a_card_makes_the_weights_that_it_began_with(here):
    assert main(["train", *SMALL, *QUICK, "--steps", "2", "--out", "a start"]) == 0
    begin = ("--weights", "a start/model.safetensors", "--out", "tuned", "--export", "net")
    assert main(["train", *SMALL, *QUICK, "--steps", "3", *begin]) == 0
    lines = json.loads(Path("net/card.json").read_text())["command"].split(" && ")
    start, own = (shlex.split(line)[2:] for line in lines)
    assert "--weights" not in start
    Path("a start").rename("kept")
    for line in (start, [*own, "--out", "again"]):
        assert main(["train", *line, "--adversary", "none", *QUICK, "--accelerator", "cpu"]) == 0
    one, two = (load_file(f"{out}/model.safetensors") for out in ("tuned", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_file_of_ones_own_is_no_shipped_configuration(here):
    assert main(["train", *SMALL, "--steps", "2"]) == 0
    more = ("--config", "run/config.yaml", "--steps", "1", "--out", "other", "--export", "net")
    assert main(["train", *more]) == 0
    assert told("net/card.json").config is None
    options = json.loads(Path("net/card.json").read_text())["options"]
    assert {name: getattr(told("net/card.json"), name) for name in options} == options
