"""Trained networks saved small, with a card, and loaded by folder or name."""

import json

import pytest
import torch
from safetensors.torch import load_file

from surefoot import SurefootError, models
from surefoot.models import _saved
from surefoot.models._compact import pack, unpack


def test_no_entry_moves_by_more_than_half_a_step():
    generator = torch.Generator().manual_seed(0)
    state = {
        "a": torch.randn(70, 8, 3, 3, generator=generator)
        * torch.logspace(-6, 6, 70)[:, None, None, None],
        "zero": torch.zeros(64, 64),
        "half": torch.randn(64, 64, generator=generator).half(),
        "small": torch.randn(3, 3, generator=generator),
        "bias": torch.randn(5000, generator=generator),
        "count": torch.tensor(3),
    }
    state["a"][4] = 0
    back = unpack(pack(state))
    assert back.keys() == state.keys()
    step = state["a"].flatten(1).abs().amax(1) / 127
    error = (back["a"] - state["a"]).flatten(1).abs().amax(1)
    assert (error <= step / 2 * (1 + 1e-5)).all()
    assert (back["a"][4] == 0).all()
    assert (back["zero"] == 0).all()
    for name in ("small", "bias", "count"):
        assert torch.equal(back[name], state[name])
    assert pack(state)["half"].dtype == torch.int8
    again = unpack(pack(back))
    assert all(torch.allclose(again[name], back[name], rtol=1e-6, atol=0) for name in back)


def test_a_saved_network_is_loaded_as_it_was_returned(tmp_path):
    model = models.build("rar-cnn", seed=0)
    about = {"note": "a note", "figures": {"accuracy": 0.5}}
    stored = models.save(
        model, tmp_path / "net", "rar-cnn", about=about, labels=tuple("abcdefghij")
    )
    assert (tmp_path / "net" / "model.safetensors").stat().st_size < 3.4e6
    loaded = models.load(tmp_path / "net")
    assert not loaded.training
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(images), stored(images))
    error = (loaded(images) - model(images)).abs().max() / model(images).std()
    assert 0 < error < 0.05
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["note"] == "a note"
    assert card["storage"] == "int8"
    assert models.card(loaded).labels == tuple("abcdefghij")


def test_float32_is_exact_and_normalisation_comes_back(tmp_path):
    inner = models.build("mlp", seed=0, features=5, classes=3)
    model = models.Classifier(inner, 0.5, 0.25).eval()
    settings = {"features": 5, "classes": 3}
    models.save(model, tmp_path, "mlp", settings=settings, storage="float32")
    records = torch.rand(4, 5)
    assert torch.equal(models.load(str(tmp_path))(records), model(records))
    assert set(load_file(tmp_path / "model.safetensors")) == set(inner.state_dict())


def test_names_are_of_the_folder_that_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(_saved, "ZOO", tmp_path)
    model = models.build("mlp", seed=0, features=5)
    models.save(model, tmp_path / "records" / "natural", "mlp", settings={"features": 5})
    assert list(models.cards()) == ["records/natural"]
    assert models.cards()["records/natural"]["network"] == "mlp"
    assert models.card(models.load("records/natural")).name == "records/natural"
    with pytest.raises(SurefootError, match="classes=3 is for timm"):
        models.load("records/natural", classes=3)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "it is no card"), ('{"format": 9}', "format 9, expected 1"), ("[]", "it is no card")],
)
def test_a_damaged_card(content, says, tmp_path):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(SurefootError, match=says):
        models.load(tmp_path)


def test_what_cannot_be_saved(tmp_path):
    model = models.build("mlp", seed=0, features=5)
    with pytest.raises(SurefootError, match="storage='int4', choose one of"):
        models.save(model, tmp_path, "mlp", storage="int4")
    with pytest.raises(SurefootError, match=r"do not fit|has shape"):
        models.save(model, tmp_path, "mlp", settings={"features": 6})
    with pytest.raises(SurefootError, match="needs features="):
        models.save(model, tmp_path, "mlp")
    (tmp_path / "file").write_text("")
    with pytest.raises(SurefootError, match="cannot make the folder"):
        models.save(model, tmp_path / "file", "mlp", settings={"features": 5})


@pytest.mark.parametrize(
    ("network", "settings", "about", "size", "channels"),
    [
        ("resnet20", {"classes": 2, "channels": 1}, {}, 32, 1),
        ("resnet20", {"classes": 2}, {"size": 48, "channels": 3}, 48, 3),
        ("rar-cnn", {"size": 8, "widths": (2, 2), "hidden": 4}, {}, 8, 1),
        ("mlp", {"features": 5}, {}, None, None),
    ],
)
def test_the_card_knows_the_images(network, settings, about, size, channels, tmp_path):
    models.save(
        models.build(network, **settings), tmp_path, network, settings=settings, about=about
    )
    card = models.card(models.load(tmp_path))
    assert (card.size, card.channels) == (size, channels)


def test_what_cannot_be_loaded_is_not_written(tmp_path):
    model = models.build("mlp", seed=0, features=5)
    with pytest.raises(SurefootError, match=r"do not fit|has shape"):
        models.save(model, tmp_path / "net", "mlp", settings={"features": 6})
    assert not (tmp_path / "net").exists()


def test_a_folder_without_a_card_is_named(tmp_path):
    with pytest.raises(SurefootError, match=r"holds no card\.json, .* train --export wrote"):
        models.load(tmp_path)
    with pytest.raises(SurefootError, match="did you mean fashion-mnist/scaat"):
        models.load("fashion-mnist/scat")
