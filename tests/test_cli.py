import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from surefoot import data, explain, models
from surefoot.cli import main
from surefoot.errors import SurefootWarning

pytest.importorskip("jsonargparse")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")
from surefoot.cli._main import COMMANDS  # noqa: E402 (needs the extra)

SMALL = ("--model", "my_nets:small", "--size", "16", "--explainer", "Gradient")


def test_a_picture_attributions_and_configuration(here):
    options = ("--labels", "names.txt", "--save-attributions", "a.npz", "-o", "out.png")
    assert main(["explain", "photo.png", "photo.png", *SMALL, *options]) == 0
    with image.open("out.png") as picture:
        assert picture.width > 400
    sys.path.insert(0, str(here))
    model = __import__("my_nets").small().eval()
    sys.path.remove(str(here))
    pixels = data.load_image("photo.png", 16)[None]
    with np.load("a.npz") as file:
        assert file["attributions"].shape == (2, 3, 16, 16)
        for row in file["attributions"]:
            np.testing.assert_allclose(row, explain.Gradient()(model, pixels)[0], rtol=1e-6)


def test_the_configuration_runs_again(here):
    options = ("--mean", "0.1", "0.2", "0.3", "--target", "1", "--save-attributions", "a.npz")
    assert main(["explain", "photo.png", *SMALL, *options, "-o", "one.png"]) == 0
    text = Path("one.yaml").read_text()
    assert f"torch {version('torch')}" in text
    assert "surefoot 0" in text
    settings = yaml.safe_load(text)
    assert settings["photos"] == ["photo.png"]
    assert settings["mean"] == [0.1, 0.2, 0.3]
    assert explain.parse(settings["explainer"]) == explain.Gradient()
    first = Path("a.npz").read_bytes()
    picture = Path("one.png").read_bytes()
    Path("a.npz").unlink()
    assert main(["explain", "--config", "one.yaml", "-o", "two.png"]) == 0
    assert Path("a.npz").read_bytes() == first
    assert Path("two.png").read_bytes() == picture
    again = yaml.safe_load(Path("two.yaml").read_text())
    assert again == settings | {"out": "two.png"}


def test_the_command_line_goes_before_the_file(here):
    assert main(["explain", "photo.png", *SMALL, "--target", "1", "-o", "one.png"]) == 0
    other = ["explain", "--config", "one.yaml", "--target", "2", "-o", "two.png"]
    assert main(other) == 0
    assert yaml.safe_load(Path("two.yaml").read_text())["target"] == "2"


def test_a_wrapped_explainer_shows_its_base(here):
    recipe = "Decoy(Gradient(score='probability'), decoys=4)"
    wide = {}
    for name, text in (("base", recipe), ("none", "Gradient")):
        options = ["--model", "my_nets:small", "--size", "16", "--explainer", text]
        options += ["--panels", "input,map,overlay"] if name == "none" else []
        assert main(["explain", "photo.png", *options, "-o", f"{name}.png"]) == 0
        with image.open(f"{name}.png") as picture:
            wide[name] = picture.width
    assert wide["base"] > 1.2 * wide["none"]
    used = explain.parse(yaml.safe_load(Path("base.yaml").read_text())["explainer"])
    assert used.layer in {"0", "1"}  # the default that was taken is named


@pytest.mark.parametrize(("target", "index"), [("2", 2), ("dog", 1), ("Fish", 2)])
def test_a_class_by_index_or_name(here, target, index):
    options = ("--labels", "names.txt", "--target", target, "--save-attributions", "a.npz")
    assert main(["explain", "photo.png", *SMALL, *options]) == 0
    with np.load("a.npz") as file:
        assert file["target"].tolist() == [index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "--colour", "red"], "unrecognized arguments: --colour"),
        (["photo.png", "--size", "many"], '"size"'),
        (["photo.png", "--size", "-3"], "size=-3, expected at least 1"),
        ([], "no photograph was given"),
        (["absent.png"], "there is no photograph absent.png"),
        (["names.txt"], "cannot read the photograph names.txt"),
        (["photo.png", "--model", "no_such_net"], "model 'no_such_net' is unknown"),
        (["photo.png", "--model", "my_nets:absent"], "has no attribute 'absent'"),
        (["photo.png", "--model", "my_nets:regression"], "does not look like a classifier"),
        (["photo.png", "--size", "17"], "the model fails on inputs (1, 3, 17, 17)"),
        (["photo.png", "--channels", "1"], "--channels 1 or 3 whether they are grey"),
        (["photo.png", "--channels", "2"], "my_nets:small is to take inputs of 2 channels"),
        (["photo.png", "--weights", "absent.pt"], "there is no weights file absent.pt"),
        (["photo.png", "--weights", "photo.png"], "not a PyTorch checkpoint"),
        (["photo.png", "--std", "0"], "expected positive numbers"),
        (["photo.png", "--mean", "1", "2"], "mean has shape"),
        (["photo.png", "--explainer", "Gradeint"], "did you mean Gradient"),
        (["photo.png", "--explainer", "Gradient(sc"], "cannot read"),
        (["photo.png", "--explainer", "Gradient(score='logits')"], "choose one of"),
        (["photo.png", "--explainer", "Decoy(Gradient, layer='2.conv')"], "layer='2.conv'"),
        (["photo.png", "--explainer", "Decoy(Gradient, patch=99)"], "patch"),
        (["photo.png", "--target", "7"], "expected class indices in [0, 2]"),
        (["photo.png", "--target", "cat"], "pass --labels"),
        (["photo.png", "--labels", "names.txt", "--target", "dgo"], "did you mean dog"),
        (["photo.png", "--labels", "absent.txt"], "cannot read class names"),
        (["photo.png", "--device", "cuda:99"], "--device=cuda:99 cannot be used here"),
        (["photo.png", "--device", "abacus"], "--device=abacus cannot be used here"),
        (["photo.png", "--threads", "0"], "--threads=0, expected at least 1"),
        (["photo.png", "--percentile", "0"], "expected a number in (0, 100]"),
        (["photo.png", "-o", "map.bmp"], "cannot draw to map.bmp"),
        (["photo.png", "-o", "absent/map.png"], "there is no folder absent"),
        (["photo.png", "--save-attributions", "a.pt"], "must end in .npz or .safetensors"),
        (["photo.png", "--config", "absent.yaml"], "absent.yaml"),
        (["--config", "names.txt"], "Unexpected config"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(here, fails, arguments, message):
    before = set(here.iterdir())
    defaults = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    options = [o for key, value in defaults.items() if key not in arguments for o in (key, value)]
    assert message in fails("explain", *arguments, *options)
    assert {path for path in here.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize("command", ["explain", "attack"])
def test_a_network_of_grey_images_gets_grey_photographs(here, command):
    more = {"explain": ("--save-attributions",), "attack": ("--steps", "2", "--save")}[command]
    options = ("--model", "fashion-mnist/scaat", "--explainer", "Gradient")
    assert main([command, "photo.png", *options, *more, "a.npz", "-o", "out.png"]) == 0
    with np.load("a.npz") as file:
        content = dict(file)
    if command == "explain":
        assert content["attributions"].shape == (1, 1, 28, 28)
    else:
        colours = data.load_image("photo.png", 28)
        grey = torch.einsum("chw,c->hw", colours, torch.tensor([0.299, 0.587, 0.114]))
        np.testing.assert_allclose(content["originals"][0, 0], grey, atol=0.05)
    with image.open("out.png") as picture:
        assert picture.width > 400


def test_channels_can_be_given(here):
    model = models.build("resnet20", seed=0, classes=3, channels=1)
    torch.save(model.state_dict(), "weights.pt")
    options = ("--model", "resnet20", "--weights", "weights.pt", "--classes", "3")
    more = ("--channels", "1", "--explainer", "Gradient", "--save-attributions", "a.npz")
    assert main(["explain", "photo.png", *options, *more]) == 0
    with np.load("a.npz") as file:
        assert file["attributions"].shape == (1, 1, 32, 32)
    assert yaml.safe_load(Path("map.yaml").read_text())["channels"] == 1


def test_a_wrong_command(fails):
    assert "'explian'" in fails("explian")
    assert "command" in fails()


def test_a_full_disk(here, fails, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = set(here.iterdir())
    for option in ((), ("--save-attributions", "a.npz")):
        line = fails("explain", "photo.png", *SMALL, *option)
        assert "No space left on device" in line
    assert {path for path in here.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_device(here, fails):
    Path("full.png").symlink_to("/dev/full")
    line = fails("explain", "photo.png", *SMALL, "-o", "full.png")
    assert line == "surefoot: error: cannot write full.png: No space left on device\n"


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [("failing", 2, "the third photograph"), ("interrupted", 130, "interrupted")],
)
def test_finished_rows_are_kept(here, capsys, model, code, said):
    options = ["--model", f"my_nets:{model}", "--size", "16", "--explainer", "Gradient"]
    photos = ["photo.png"] * 5
    assert main(["explain", *photos, *options, "--save-attributions", "a.npz"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "map.png holds the 2 photographs finished of 5" in err
    with np.load("a.npz") as file:
        assert len(file["attributions"]) == 2
    assert Path("map.png").exists()
    assert yaml.safe_load(Path("map.yaml").read_text())["photos"] == photos


def test_warnings_are_one_line(here, capsys):
    recipe = "Decoy(Gradient, layer='1', decoys=2)"
    options = ["--model", "my_nets:linear", "--size", "16", "--explainer", recipe]
    assert main(["explain", "photo.png", *options]) == 0
    line, wrote = capsys.readouterr().err.splitlines()
    assert wrote == "surefoot: wrote map.png, map.yaml"
    assert line.startswith("surefoot: warning: ")
    assert "linear" in line
    with pytest.warns(SurefootWarning):  # the library's own warnings are as they were
        __import__("warnings").warn(SurefootWarning("again"), stacklevel=1)


def test_threads(here):
    before = torch.get_num_threads()
    try:
        assert main(["explain", "photo.png", *SMALL, "--threads", "2"]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_option_has_a_line_of_help(capsys):
    for module in COMMANDS.values():
        for action in module.parser()._actions:
            assert action.help, action.dest
    for arguments in (["--help"], ["doctor", "--help"], ["explain", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    assert "--save-attributions" in capsys.readouterr().out


def test_without_the_extra_there_is_a_hint(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    assert 'pip install "surefoot[cli]"' in fails("explain", "photo.png")


def test_the_installed_command(here):
    command = [sys.executable, "-c", "import sys; from surefoot.cli import main; sys.exit(main())"]
    done = subprocess.run(  # noqa: S603
        [*command, "explain", "absent.png"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("surefoot: error: there is no photograph absent.png")
