"""`surefoot certify`, `surefoot attack --ensemble`, and the picture of a certificate."""

import json

import pytest
import torch
from torch import nn

from surefoot import SurefootError, certify, report
from surefoot.cli import main
from surefoot.explain import Gradient

FACTORY = """
import torch
from torch import nn

def kinked():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    (tmp_path / "certified_nets.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    return ["--model", "certified_nets:kinked", "--size", "8"]


def told(capsys, arguments):
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_a_photograph_is_certified_both_ways_and_drawn(photo, tmp_path, model, capsys):
    out = tmp_path / "certificate.png"
    save = tmp_path / "mask.npz"
    common = ["certify", str(photo), "-o", str(out), *model, "--json"]
    smooth = told(capsys, [*common, "--draws", "40", "--save-mask", str(save)])
    assert smooth["norm"] == "l2"
    assert smooth["radius"] == pytest.approx(0.15 * 0.6744898)
    assert smooth["maps"] == 40
    assert 0 <= smooth["photographs"][0]["certified"] <= 1
    assert out.read_bytes().startswith(b"\x89PNG")
    assert str(save) in smooth["files"]
    assert "samples=40" in smooth["certifier"]
    exact = told(capsys, [*common, "--exact", "1/2550", "--k", "5"])
    assert exact["failure"] == 0
    assert exact["radius"] == pytest.approx(1 / 2550)
    assert exact["photographs"][0]["overlap"] > 0
    again = told(capsys, ["certify", "--config", str(out.with_suffix(".yaml"))])
    assert again["photographs"] == exact["photographs"]
    assert main([*common[:-1], "--exact", "1/2550"]) == 0
    assert "linf radius 0.0003922, exact; 1 maps each" in capsys.readouterr().out


def test_both_sides_are_told_of_a_photograph(photo, tmp_path, model, capsys):
    common = ["certify", str(photo), "-o", str(tmp_path / "c.png"), *model]
    exact = [*common, "--exact", "1/2550", "--k", "5", "--beside", "quick", "--steps", "3"]
    (found,) = told(capsys, [*exact, "--json"])["photographs"]
    left = found["left"]
    assert left["floor"] == found["overlap"] > 0
    assert left["floor"] <= left["ensemble"] <= min(left["published"], left["random"])
    assert main(exact) == 0
    assert "proved and found" in capsys.readouterr().out
    assert main([*common, "--beside", "quick"]) == 2
    assert "give --exact RADIUS" in capsys.readouterr().err


def test_an_audit_holds_certified_floors_beside_attacks(photo, tmp_path, model, capsys):
    out = tmp_path / "audit"
    arguments = ["audit", str(photo), "-o", str(out), *model, "--explainers", "{g: Gradient()}"]
    ensemble = "Ensemble(Linf(1/2550, steps=2), k=5, by='kendall', effort='quick')"
    arguments += ["--attacks", json.dumps({"ensemble": ensemble})]
    assert main([*arguments, "--metrics", "[topk_intersection, 'Floor(1/2550, k=5)']"]) == 0
    assert "Floor" in capsys.readouterr().out


def test_an_explainer_without_exact_bounds_is_told_of(photo, tmp_path, model, capsys):
    arguments = ["certify", str(photo), "-o", str(tmp_path / "c.png"), *model]
    wrong = [*arguments, "--exact", "0.01", "--explainer", "SmoothGrad(statistic='square')"]
    assert main(wrong) == 2
    assert "no exact bounds" in capsys.readouterr().err


def test_the_ensemble_has_an_option(photo, tmp_path, model, capsys):
    arguments = ["attack", str(photo), "-o", str(tmp_path / "a.png"), *model, "--steps", "2"]
    found = told(capsys, [*arguments, "--ensemble", "quick", "--by", "kendall", "--json"])
    assert "Ensemble(" in json.dumps(found)
    assert main([*arguments, "--ensemble", "quick", "--attack", "MassCenter"]) == 2
    assert "leave --attack out" in capsys.readouterr().err


def test_a_picture_shows_what_is_certain_and_refuses_records():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval()
    c = certify.Smoothed(Gradient(), k=9, sigma=0.3)(net, torch.rand(2, 3, 8, 8))
    figure = report.certificate_picture(c, names=["one.png", "two.png"])
    images = [axis.images[0].get_array() for axis in figure.axes[1::2]]
    for row, shown in enumerate(images):
        same = {value: shown[c.mask[row].numpy() == value] for value in (-1, 0, 1)}
        assert all(len(set(map(tuple, inks))) <= 1 for inks in same.values())
    first = report.certificate_table(c, ["one.png", "two.png"])
    assert "100 maps each" in first[0]
    assert first[1].startswith("one.png: certain ")
    records = certify.Smoothed(Gradient(), k=2)(nn.Linear(4, 2).eval(), torch.rand(1, 4))
    with pytest.raises(SurefootError, match="expected images"):
        report.certificate_picture(records)
