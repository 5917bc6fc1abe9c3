import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from surefoot import attack, data, explain, gradients
from surefoot.cli import main

pytest.importorskip("jsonargparse")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")
from surefoot.cli._attacks import ATTACKS  # noqa: E402 (needs the extra)
from surefoot.cli._options import number  # noqa: E402

SMALL = ("--model", "my_nets:small", "--size", "16", "--steps", "4", "--epsilon", "8/255")


def attacked(*options, photos=("photo.png",), code=0):
    """What a run saves."""
    assert main(["attack", *photos, *SMALL, "--save", "a.npz", *map(str, options)]) == code
    with np.load("a.npz") as file:
        return {name: torch.as_tensor(file[name]) for name in file if name != "metadata"}


@pytest.fixture
def model(here):
    sys.path.insert(0, str(here))
    made = __import__("my_nets").small().eval()
    sys.path.remove(str(here))
    return made


def test_a_run_is_the_librarys_attack_of_each_photograph(here, model, capsys):
    image.effect_noise((40, 40), 80).convert("RGB").save("other.png")
    names = ("photo.png", "other.png")
    got = attacked("--labels", "names.txt", photos=names)
    pixels = torch.stack([data.load_image(name, 16) for name in names])
    recipe = attack.TopK(attack.Linf(8 / 255, steps=4), k=25)
    wanted = recipe(model, pixels, None, explain.Gradient())
    for name in ("originals", "inputs", "before", "after", "label_kept", "target"):
        torch.testing.assert_close(got[name], getattr(wanted, name), rtol=1e-5, atol=1e-6)
    for name, value in wanted.scores.items():
        torch.testing.assert_close(got[f"scores.{name}"], value, rtol=1e-5, atol=1e-5)
    for name, inputs in (("before", wanted.originals), ("after", wanted.inputs)):
        softmax = gradients.predict(model, inputs).softmax(1)
        torch.testing.assert_close(got[f"probabilities.{name}"], softmax)
    with np.load("a.npz") as file:
        metadata = json.loads(str(file["metadata"]))
    assert metadata["attack"] == repr(recipe)
    assert explain.from_json(metadata["explainer"]) == explain.Gradient()
    head, first, signs, second, _ = capsys.readouterr().out.splitlines()
    assert "top 25 left" in head
    assert first.startswith("photo.png")
    assert second.startswith("other.png")
    assert f"{wanted.scores['topk_intersection'][1]:.1%}".replace("%", " %") in second
    assert signs.strip().startswith("mean of 3 random signs")
    with image.open("attack.png") as picture:
        assert picture.width > 1.3 * picture.height


def test_the_control_is_the_mean_of_random_signs(here, model):
    got = attacked("--seed", 5, "--control-draws", 2, "--k", 0.25)
    pixels = data.load_image("photo.png", 16)[None]
    each = [
        attack.RandomSign(attack.Linf(8 / 255), k=64, seed=seed)(
            model, pixels, None, explain.Gradient()
        )
        for seed in (5, 6)
    ]
    for name in each[0].scores:
        mean = sum(one.scores[name] for one in each) / 2
        torch.testing.assert_close(got[f"control.{name}"], mean)


def test_random_signs_are_their_own_control(here, capsys):
    got = attacked("--attack", "RandomSign")
    assert not [name for name in got if name.startswith("control")]
    assert (got["inputs"] - got["originals"]).abs().max() <= 8 / 255 * (1 + 1e-5)
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"RandomSign"}))
def test_every_attack_has_its_own_score_beside_the_controls(here, name, photo):
    towards = ("--towards", "photo.png") if name == "Manipulation" else ()
    # Towards the photograph's own map, but of another class: else it is there already.
    options = ("--target", "0", "--model", "my_nets:kinked") if towards else ()
    got = attacked("--attack", name, *towards, *options)
    own = {"Target": "region_mass", "Manipulation": "distance", "Dissimilarity": "cosine"}
    own |= {"MassCenter": "mass_centre_shift", "TopK": "topk_intersection"}
    own |= {"Ensemble": "topk_intersection"}
    assert got.keys() >= {f"scores.{own[name]}", f"control.{own[name]}"}
    assert got["label_kept"].all()
    assert not torch.equal(got["inputs"], got["originals"])


def test_settings_of_an_attack(here):
    options = ("--norm", "l2", "--restarts", "2", "--reduction", "max_abs", "--beta", "none")
    got = attacked("--attack", "Dissimilarity(proxy='pearson', second_order='exact')", *options)
    size = (got["inputs"] - got["originals"]).flatten(1).norm()
    assert 0 < size <= 8 / 255 * (1 + 1e-5)
    assert "scores.pearson" in got
    with np.load("a.npz") as file:
        recipe = json.loads(str(file["metadata"]))["attack"]
    assert recipe.startswith("Dissimilarity(L2(")
    for text in ("restarts=2", "reduction='max_abs'", "beta=None", "second_order='exact'"):
        assert text in recipe


def test_the_default_epsilon(here):
    small = ("--model", "my_nets:small", "--size", "16", "--steps", "1")
    for norm, epsilon in (("linf", 1 / 255), ("l2", math.sqrt(768) / 255)):
        assert main(["attack", "photo.png", *small, "--norm", norm]) == 0
        assert yaml.safe_load(Path("attack.yaml").read_text())["epsilon"] == epsilon


def test_transfer(here, model):
    got = attacked("--score-with", "IntegratedGradients(steps=2)")
    pixels = data.load_image("photo.png", 16)[None]
    maps = explain.IntegratedGradients(steps=2)(model, pixels, got["target"])
    torch.testing.assert_close(got["before"], maps)


def test_a_decoy_map_is_attacked_adaptively_and_its_layer_is_named(here):
    got = attacked(
        "--explainer", "Decoy(Gradient(score='probability'), decoys=4)", "--epsilon", "1/255"
    )
    assert not torch.equal(got["before"], got["after"])
    used = explain.parse(yaml.safe_load(Path("attack.yaml").read_text())["explainer"])
    assert used.layer in {"0", "1"}
    with np.load("a.npz") as file:
        scored = explain.from_json(json.loads(str(file["metadata"]))["score_with"])
    assert (scored.seed, scored.layer) == (used.seed + 1, used.layer)


def test_the_configuration_runs_again(here, capsys):
    kinked = ("--model", "my_nets:kinked", "--explainer", "Gradient(score='probability')")
    attacked(*kinked, "--target", "1", "--k", "30", "--beta", "20", "-o", "one.png")
    table = capsys.readouterr().out
    settings = yaml.safe_load(Path("one.yaml").read_text())
    assert settings["photos"] == ["photo.png"]
    assert (settings["k"], settings["beta"], settings["epsilon"]) == (30, 20, 8 / 255)
    first, picture = Path("a.npz").read_bytes(), Path("one.png").read_bytes()
    Path("a.npz").unlink()
    assert main(["attack", "--config", "one.yaml", "-o", "two.png"]) == 0
    assert Path("a.npz").read_bytes() == first
    assert Path("two.png").read_bytes() == picture
    assert capsys.readouterr().out == table
    assert yaml.safe_load(Path("two.yaml").read_text()) == settings | {"out": "two.png"}


def test_fractions_stand_in_a_file_too(here):
    Path("mine.yaml").write_text("epsilon: 2/255\nk: 0.5\nbeta: none\nmodel: my_nets:small\n")
    options = ["--config", "mine.yaml", "--size", "16", "--steps", "2"]
    assert main(["attack", "photo.png", *options]) == 0
    used = yaml.safe_load(Path("attack.yaml").read_text())
    assert (used["epsilon"], used["k"], used["beta"]) == (2 / 255, 0.5, "none")


def test_where_no_iterate_keeps_the_prediction_the_row_says_so(here, capsys):
    # Its prediction is a matter of rounding: any step changes it.
    options = ["--model", "my_nets:fickle", "--size", "16", "--steps", "2"]
    assert main(["attack", "photo.png", *options, "--save", "a.npz"]) == 0
    assert "no iterate kept it" in capsys.readouterr().out
    with np.load("a.npz") as file:
        assert not file["label_kept"].any()
        assert np.array_equal(file["inputs"], file["originals"])
        assert file["scores.topk_intersection"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "value"), [("1/255", 1 / 255), ("0.5/255", 0.5 / 255), ("4e-3", 0.004), (2, 2.0)]
)
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no photograph was given; try: surefoot attack chelsea"),
        (["absent.png"], "there is no photograph absent.png"),
        (["names.txt"], "cannot read the photograph names.txt"),
        (["photo.png", "--attack", "TopKK"], "did you mean TopK?"),
        (["photo.png", "--attack", "TopK("], "cannot read the attack"),
        (["photo.png", "--attack", "TopK(**a)"], "cannot read the attack"),
        (["photo.png", "--attack", "TopK(refresh=exit())"], "cannot read the attack"),
        (["photo.png", "--attack", "TopK(k=3)"], "TopK takes no 'k' here"),
        (["photo.png", "--attack", "TopK(refresh='a')"], "TopK's refresh is 'a', expected int"),
        (["photo.png", "--attack", "TopK(refresh=0)"], "expected refresh >= 1"),
        (["photo.png", "--attack", "Dissimilarity(proxy='l2')"], "expected one of ['cosine'"),
        (["photo.png", "--attack", "Manipulation"], "needs --towards PHOTO"),
        (["photo.png", "--towards", "photo.png"], "needs --towards PHOTO"),
        (
            ["photo.png", "--attack", "Manipulation", "--towards", "absent.png"],
            "there is no photograph absent.png",
        ),
        (["photo.png", "--attack", "MassCenter", "--reduction", "sum"], "negative values"),
        (["photo.png", "--reduction", "most"], '"reduction"'),
        (["photo.png", "--norm", "l1"], '"norm"'),
        (["photo.png", "--epsilon", "0"], "--epsilon=0, expected a number in (0, 1]"),
        (["photo.png", "--epsilon", "1.5"], "--epsilon=1.5, expected a number in (0, 1]"),
        (["photo.png", "--epsilon=-1/255"], "--epsilon=-0.00392157, expected"),
        (["photo.png", "--epsilon", "nan"], "--epsilon=nan, expected"),
        (["photo.png", "--epsilon", "inf", "--norm", "l2"], "--epsilon=inf, expected"),
        (["photo.png", "--epsilon", "small"], "--epsilon: 'small', expected a number such as"),
        (["photo.png", "--epsilon", "1/0"], "--epsilon: '1/0', expected a number such as"),
        (["photo.png", "--epsilon", "1/2/3"], "--epsilon: '1/2/3', expected a number such as"),
        (["photo.png", "--config", "wrong.yaml"], "expected a number such as 0.004 or 1/255"),
        (["photo.png", "--steps", "0"], "--steps=0, expected at least 1"),
        (["photo.png", "--steps", "1.5"], '"steps"'),
        (["photo.png", "--restarts", "0"], "--restarts=0, expected at least 1"),
        (["photo.png", "--step-size", "0"], "--step-size=0, expected a positive number"),
        (["photo.png", "--seed", "-1"], "--seed=-1, expected a number >= 0"),
        (["photo.png", "--control-draws", "0"], "--control-draws=0, expected at least 1"),
        (["photo.png", "--k", "257"], "k=257, but a map has 256 entries"),
        (["photo.png", "--k", "0"], "k=0, but a map has"),
        (["photo.png", "--k", "some"], '"k"'),
        (["photo.png", "--beta", "soft"], "--beta: 'soft', expected a number, auto or none"),
        (["photo.png", "--beta", "0"], "beta=0.0, expected"),
        (["photo.png", "--explainer", "Gradeint"], "did you mean Gradient"),
        (["photo.png", "--explainer", "Captum('DeepLift')"], "cannot be differentiated"),
        (["photo.png", "--score-with", "Gradeint"], "did you mean Gradient"),
        (["photo.png", "--target", "7"], "expected class indices in [0, 2]"),
        (["photo.png", "--target", "cat"], "pass --labels"),
        (["photo.png", "--model", "my_nets:regression"], "does not look like a classifier"),
        (["photo.png", "--model", "my_nets:broken"], "NaN"),
        (["photo.png", "--size", "17"], "the model fails on inputs (1, 3, 17, 17)"),
        (["photo.png", "--device", "cuda:99"], "--device=cuda:99 cannot be used here"),
        (["photo.png", "--percentile", "0"], "expected a number in (0, 100]"),
        (["photo.png", "-o", "attack.bmp"], "cannot draw to attack.bmp"),
        (["photo.png", "-o", "absent/attack.png"], "there is no folder absent"),
        (["photo.png", "--save", "absent/a.npz"], "there is no folder absent"),
        (["photo.png", "--save", "a.pt"], "must end in .npz or .safetensors"),
        (["photo.png", "--config", "absent.yaml"], "absent.yaml"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(here, fails, arguments, message):
    Path("wrong.yaml").write_text("step_size: small\n")
    before = set(here.iterdir())
    if any("Captum" in each for each in arguments):
        pytest.importorskip("captum")
    words = [each.split("=")[0] for each in arguments]
    defaults = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    options = [o for key, value in defaults.items() if key not in words for o in (key, value)]
    assert message in fails("attack", *arguments, *options)
    assert {path for path in here.iterdir() if path.name != "__pycache__"} == before


def test_a_full_disk(here, fails, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = set(here.iterdir())
    for option in ((), ("--save", "a.npz")):
        assert "No space left on device" in fails("attack", "photo.png", *SMALL, *option)
    assert {path for path in here.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [("failing", 2, "photo.png cannot be attacked"), ("interrupted", 130, "interrupted")],
)
def test_finished_rows_are_kept(here, capsys, model, code, said):
    # One run of the model to try it, and nine for a photograph, with one step and one control.
    few = ("--steps", "1", "--control-draws", "1", "--beta", "none")
    saved = attacked("--model", f"my_nets:{model}_late", *few, photos=["photo.png"] * 5, code=code)
    out, err = capsys.readouterr()
    assert said in err
    finished = len(saved["inputs"])
    assert 1 <= finished < 5
    assert f"attack.png holds the {finished} photographs finished of 5" in err
    assert len(out.splitlines()) == 1 + 2 * finished
    assert Path("attack.png").exists()
    assert yaml.safe_load(Path("attack.yaml").read_text())["photos"] == ["photo.png"] * 5


def test_safetensors(here):
    safetensors = pytest.importorskip("safetensors")
    assert main(["attack", "photo.png", *SMALL, "--save", "a.safetensors"]) == 0
    with safetensors.safe_open("a.safetensors", "pt") as file:
        assert {"originals", "inputs", "before", "after", "scores.kendall"} <= set(file.keys())
        assert file.metadata()["attack"].startswith("TopK(")


def test_help_names_what_matters(capsys):
    with pytest.raises(SystemExit):
        main(["attack", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for text in ("1/255", "8 bits, cannot hold the perturbation exactly", "under a minute"):
        assert text in said
