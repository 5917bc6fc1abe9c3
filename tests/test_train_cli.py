"""`surefoot train`, and the configurations that come with the package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from surefoot import SurefootWarning, attack, data, models, train
from surefoot.data import Samples, Sentences
from surefoot.models._classifier import inside
from surefoot.train.loop import _checkpoint, _logs
from surefoot.train.loop._optimizers import make_optimizer, make_schedule

pytest.importorskip("jsonargparse")
pytest.importorskip("lightning_fabric")
from surefoot.cli import main, train as command
from surefoot.cli._train_options import configs, find_config

SHAPES = {
    "mnist": ((1, 28, 28), 10),
    "fashion-mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "gtsrb": ((3, 32, 32), 43),
    "flowers17": ((3, 128, 128), 17),
}
NETS = """
import torch
from torch import nn

def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a small data set and a module of networks."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    y = (x.mean((1, 2)) > 127.5).astype(np.int64)
    np.savez(tmp_path / "images.npz", x_train=x[:50], y_train=y[:50], x_test=x[50:], y_test=y[50:])
    (tmp_path / "train_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("train_nets", None)


SMALL = (
    *("--data", "arrays:images.npz", "--hold-out", "10", "--batch", "8", "--accelerator", "cpu"),
    *("--model", "rar-cnn", "--model-options", "{widths: [2, 2], hidden: 4}"),
    *(
        "--objective",
        "PGD(4/255, steps=1, random_start=False)",
        "--optimizer",
        "SGD(lr=0.1)",
        "--out",
        "run",
    ),
    *("--attacked", "4", "--audited", "2", "--audit", "TopK(Linf(0.1, steps=1), k=5)"),
    *("--adversary", "PGD(Linf(0.1, steps=1))", "--explainer", "Gradient"),
)


def fails(capsys, *arguments):
    """The single line that a failing call leaves on standard error."""
    assert main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def test_a_run_and_what_it_leaves(here, capsys):
    options = ("--steps", "6", "--validate-every", "3", "--log-every", "2", "--note", "a note")
    assert main(["train", *SMALL, *options]) == 0
    assert "6 steps: accuracy 0." in capsys.readouterr().out
    assert {path.name for path in Path("run").iterdir()} == {
        *("checkpoints", "config.yaml", "metrics.csv", "model.safetensors")
    }
    steps = {step for step, name, _ in _logs.read("run/metrics.csv") if name == "kendall"}
    assert steps == {3, 6}
    settings = {"size": 8, "classes": 2, "widths": (2, 2), "hidden": 4}
    model = models.load("rar-cnn", weights="run/model.safetensors", **settings)
    fresh = models.build("rar-cnn", seed=0, **settings)
    assert not torch.equal(model.fc2.weight, fresh.fc2.weight)


def test_sentences_from_the_command_line(here, capsys):
    """The vocabulary is the data's, and the embedding is what is attacked."""
    for after, kind in (("neg", "bad"), ("pos", "good")):
        lines = [f"a {kind} film number {n}" for n in range(20)]
        Path(f"rt-polarity.{after}").write_text("\n".join(lines))
    given = ("--data", "sentence-polarity", "--root", ".", "--hold-out", "10", "--batch", "8")
    net = ("--model", "text-cnn", "--model-options", "{dimension: 4, filters: 2}")
    quick = ("--steps", "3", "--audit", "none", "--out", "run", "--accelerator", "cpu")
    assert main(["train", *given, *net, *quick, "--objective", "Natural()"]) == 0
    assert "adversarial_accuracy " in capsys.readouterr().out
    assert load_file("run/model.safetensors")["module.embedding.weight"].shape[1] == 4
    quick = (*quick, "--objective", "PGD(0.1)", "--out", "other")
    assert "have no bounds but (-inf, inf)" in fails(capsys, *given, *net, *quick)
    assert "does not know the words" in fails(capsys, *given, *net, *quick, "--export", "small")


def test_the_configuration_runs_again(here):
    assert main(["train", *SMALL, "--steps", "3", "--note", "a note"]) == 0
    used = yaml.safe_load(Path("run/config.yaml").read_text())
    assert used["note"] == "a note"
    assert used["steps"] == 3
    assert main(["train", "--config", "run/config.yaml", "--out", "again"]) == 0
    one, two = (load_file(f"{out}/model.safetensors") for out in ("run", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert yaml.safe_load(Path("again/config.yaml").read_text()) == used | {"out": "again"}
    assert main(["train", "--config", "run/config.yaml", "--out", "other", "--seed", "1"]) == 0
    other = load_file("other/model.safetensors")
    assert not torch.equal(one["fc2.weight"], other["fc2.weight"])


def test_a_finished_run_resumes(here, capsys):
    assert main(["train", *SMALL, "--steps", "3"]) == 0
    before = Path("run/model.safetensors").read_bytes()
    line = fails(capsys_cleared(capsys), *SMALL, "--steps", "3")
    assert "holds checkpoints of an earlier run, up to step 3; --resume to go on" in line
    assert main(["train", *SMALL, "--steps", "3", "--resume"]) == 0
    assert Path("run/model.safetensors").read_bytes() == before
    line = fails(capsys_cleared(capsys), *SMALL, "--steps", "4", "--resume")
    assert "steps was 3, is 4" in line
    assert yaml.safe_load(Path("run/config.yaml").read_text())["steps"] == 3


def test_a_finished_run_is_lengthened(here, capsys):
    assert main(["train", *SMALL, "--steps", "3"]) == 0
    assert main(["train", *SMALL, "--steps", "5", "--longer"]) == 0
    assert main(["train", *SMALL, "--steps", "5", "--out", "whole"]) == 0
    whole = Path("whole/model.safetensors").read_bytes()
    assert Path("run/model.safetensors").read_bytes() == whole
    kept = yaml.safe_load(Path("run/config.yaml").read_text())
    assert kept == yaml.safe_load(Path("whole/config.yaml").read_text()) | {"out": "run"}
    assert main(["train", "--config", "run/config.yaml", "--resume"]) == 0
    line = fails(capsys_cleared(capsys), *SMALL, "--steps", "4", "--longer")
    assert "5 steps done and the run is of 4" in line


def test_another_run_is_not_resumed(here, capsys):
    assert main(["train", *SMALL, "--steps", "3", "--mean", "[0.5]"]) == 0
    images = dict(np.load("images.npz"))
    np.savez("inverted.npz", **{n: 255 - v if n[0] == "x" else v for n, v in images.items()})
    for change, says in (
        (("--mean", "[0.4]"), "normalisation was mean [0.5], is mean [0.4"),
        (("--data", "arrays:inverted.npz"), "--data was arrays:images.npz, is arrays:inverted.npz"),
        (
            ("--augment", "CropAndFlip(padding=1)"),
            "augmentation was None, is CropAnd",
        ),
        (("--weights", "run/model.safetensors"), "--weights was None, is run/model"),
    ):
        options = (*SMALL, "--steps", "3", "--mean", "[0.5]", *change, "--resume")
        assert says in fails(capsys_cleared(capsys), *options)


def capsys_cleared(capsys):
    capsys.readouterr()
    return capsys


def test_begin_with_weights_and_normalise(here, capsys):
    assert main(["train", *SMALL, "--steps", "3"]) == 0
    more = ("--weights", "run/model.safetensors", "--mean", "[0.5]", "--std", "[0.25]")
    assert main(["train", *SMALL, "--steps", "0", *more, "--out", "two"]) == 0
    assert main(["train", *SMALL, "--steps", "2", *more, "--out", "three"]) == 0
    settings = {"size": 8, "classes": 2, "widths": (2, 2), "hidden": 4}
    options = {"weights": "three/model.safetensors", **settings}
    behind = models.load("rar-cnn", mean=[0.5], std=[0.25], **options)
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(models.load("rar-cnn", **options)(images), behind(images))
    with pytest.warns(
        SurefootWarning, match=r"behind mean=\[0.5\], std=\[0.25\], and Classifier has"
    ):
        models.load("rar-cnn", mean=[0.5], std=[0.5], **options)
    capsys.readouterr()
    assert (
        main(
            [
                "train",
                *SMALL,
                "--steps",
                "1",
                "--weights",
                "three/model.safetensors",
                "--out",
                "four",
            ]
        )
        == 0
    )
    assert "were trained behind mean=[0.5], std=[0.25]" in capsys.readouterr().err


def test_a_factory_and_fewer_samples(here):
    options = ("--model", "train_nets:small", "--samples", "16", "--steps", "2")
    assert main(["train", *SMALL, *options, "--hold-out", "0"]) == 0
    assert set(load_file("run/model.safetensors")) == {"1.weight", "1.bias"}
    names = {name for _, name, _ in _logs.read("run/metrics.csv")}
    assert names == {"adversarial", "learning_rate"}


def test_validation_may_be_accuracy_alone(here, capsys):
    options = ("--steps", "2", "--adversary", "none", "--audit", "none")
    assert main(["train", *SMALL, *options]) == 0
    assert "accuracy" in capsys.readouterr().out
    names = {name for _, name, _ in _logs.read("run/metrics.csv")}
    assert names == {"adversarial", "learning_rate", "accuracy"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--objective", "SCAT()"), "objective 'SCAT' is unknown; did you mean SCAAT"),
        (("--objective", "PGD(epsilon=-1)"), "epsilon=-1"),
        (("--optimizer", "SDG(lr=1)"), "did you mean SGD"),
        (("--schedule", "StpLR(2)"), "did you mean StepLR"),
        (("--adversary", "TopK(Linf(0.1))"), "--adversary=TopK(Linf(0.1)) is a TopK, expected a"),
        (("--audit", "PGD(Linf(0.1))"), "expected a AttributionAttack"),
        (("--explainer", "Gradiant"), "did you mean Gradient"),
        (("--data", "mnits"), "data set 'mnits' is unknown; did you mean mnist"),
        (("--data", "mnist", "--root", "."), "mnist was not found"),
        (("--model", "rar-cn"), "rar-cn"),
        (("--model-options", "{width: 2}"), "has no setting 'width'"),
        (("--model-options", "{classes: 3}"), "have 2 classes and the model 3 logits"),
        (("--weights", "absent.safetensors"), "there is no weights file"),
        (("--samples", "41"), "has 50 training samples in all"),
        (("--hold-out", "50"), "has 50 training samples in all"),
        (("--batch", "64"), "fewer than one batch of 64"),
        (("--epochs", "3"), "expected one of them"),
        (("--precision", "7"), "cannot run with"),
        (("--accelerator", "abacus"), "cannot run with"),
        (("--threads", "0"), "--threads=0"),
        (("--config", "fashion-mnist/ig-sumnorm"), "did you mean fashion-mnist/ig-sum-norm"),
        (("--logs", "[sql]"), "expected 'csv' or 'tensorboard'"),
        (("--logs", "csv,sql"), "logs has 'sql', expected 'csv' or 'tensorboard'"),
        (
            ("--model-options", "{size: 28, widths: [2, 2], hidden: 4}"),
            "RARCNN fails on the training data, inputs (N, 1, 8, 8): mat1",
        ),
        (("--workers=-1",), "workers=-1, expected at least 0"),
        (("--attacked=-3",), "attacked=-3, expected at least 0"),
        (("--best-by", "acuracy"), "none of the validation's figures; did you mean accuracy"),
        (
            ("--best-by", "adversarial_accuracy", "--adversary", "none"),
            "--best-by='adversarial_accuracy' is none of the validation's figures",
        ),
        (("--validate-on", "validation"), "images.npz has no split 'validation'"),
        (("--augment", "CropAndFlop()"), "did you mean CropAndFlip"),
        (("--out", "images.npz"), "cannot make the folder"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_used(options, says, here, capsys):
    assert says in fails(capsys, *SMALL, "--steps", "2", *options)


def test_images_that_are_not_square(here, capsys):
    x, y = np.zeros((20, 8, 6), np.uint8), np.arange(20) % 2
    np.savez("wide.npz", x_train=x, y_train=y)
    line = fails(capsys, *SMALL, "--steps", "1", "--data", "arrays:wide.npz")
    assert "arrays:wide.npz has images of 8 x 6 pixels, and rar-cnn takes squares" in line


@pytest.mark.parametrize("text", ["csv,tensorboard", "[csv, tensorboard]", "[csv,tensorboard]"])
def test_logs_as_a_shell_passes_them_on(text):
    settings = command.parser().parse_args(["--logs", text])
    assert command._logs(settings.logs) == ("csv", "tensorboard")


def test_logs_of_one_sort():
    assert command._logs(command.parser().parse_args(["--logs", "tensorboard"]).logs) == (
        "tensorboard",
    )
    assert command._logs(command.parser().parse_args([]).logs) == ("csv",)


def test_figures_of_the_test_choose_nothing(here):
    more = ("--hold-out", "0", "--validate-on", "test", "--steps", "4", "--validate-every", "2")
    assert main(["train", *SMALL, *more]) == 0
    (kept,) = _checkpoint.checkpoints(Path("run/checkpoints"))
    assert kept.step == 4
    settings = {"size": 8, "classes": 2, "widths": (2, 2), "hidden": 4}
    model = models.load("rar-cnn", weights="run/model.safetensors", **settings)
    test = data.load("arrays:images.npz", "test", here)
    right = model(test.inputs).argmax(1) == test.labels
    accuracies = [value for _, name, value in _logs.read("run/metrics.csv") if name == "accuracy"]
    assert len(accuracies) == 2
    assert accuracies[-1] == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize("name", ["model", "data", "objective"])
def test_what_is_missing(name, here, capsys):
    given = list(SMALL)
    where = given.index(f"--{name}")
    del given[where : where + 2]
    assert f"--{name} is missing; give it, or take a configuration" in fails(capsys, *given)


def test_every_option_has_help():
    for action in command.parser()._actions:
        assert action.help, action.dest


def sample(name):
    """A data set of one input, like those of the data set of that name."""
    if name == "sentence-polarity":
        words, one = ("<pad>", "<unknown>", "film"), torch.tensor([[2, 1, 0]])
        return Sentences(one, torch.tensor([0]), ("negative", "positive"), None, vocabulary=words)
    shape, classes = SHAPES[name]
    return Samples(torch.zeros(1, *shape), torch.zeros(1).long(), tuple(map(str, range(classes))))


@pytest.mark.parametrize("name", configs())
def test_shipped_configurations_parse_and_build(name):
    settings = command.parser().parse_args(["--config", name])
    assert settings.note.startswith(("Full", "Scaled down"))
    assert settings.out == f"runs/{name}"
    assert settings.hold_out > 0 or settings.validate_on == "test"
    loop, objective, validation = command.recipes(settings)
    samples = sample(settings.data)
    settings.weights = None
    model = command._model(settings, samples).eval()
    inputs = samples.inputs if samples.inputs.is_floating_point() else model.embed(samples.inputs)
    assert model(inputs).shape == (1, len(samples.classes))
    optimizer = make_optimizer(loop.optimizer, model)
    make_schedule(loop.schedule, optimizer, loop.length(60000))
    loop.check(60000, 1)
    objective.check() if hasattr(objective, "check") else None
    assert train.parse(repr(objective)) == objective
    assert isinstance(validation.audit, attack.TopK)


def test_the_released_settings_are_those_of_the_facts():
    """Of facts 1.2 and 2.2, with sums over the batch made means."""
    settings = yaml.safe_load(find_config("gtsrb/ig-sum-norm").read_text())
    assert settings["batch"] == 64
    optimizer = make_optimizer(settings["optimizer"], torch.nn.Linear(1, 1))
    assert optimizer.defaults["lr"] == pytest.approx(64 * 1e-3)
    assert optimizer.defaults["weight_decay"] == pytest.approx(2e-4 / 64)
    assert train.parse(settings["objective"]) == train.IGSumNorm(
        8 / 255, steps=7, step_size=2 / 255, weight=1.0, points=50, attack_points=5
    )
    flowers = yaml.safe_load(find_config("flowers17/ig-norm").read_text())
    optimizer = make_optimizer(flowers["optimizer"], torch.nn.Linear(1, 1))
    schedule = make_schedule(flowers["schedule"], optimizer, 70001)
    assert optimizer.defaults["lr"] == pytest.approx(16 * 1e-4)
    assert [schedule.factor(step) for step in (0, 499, 500, 59999, 60000)] == [1, 1, 10, 10, 1]


def test_two_processes_from_the_command_line(here):
    """The launcher starts the same command again, once for each further process."""
    script = Path(sys.executable).parent / "surefoot"
    more = ["--steps", "3", "--devices", "2", "--strategy", "ddp", "--threads", "1"]
    done = subprocess.run(  # noqa: S603 (the command of this package)
        [script, "train", *SMALL, *more], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 steps") == 1
    two = load_file("run/model.safetensors")
    assert main(["train", *SMALL, "--steps", "3", "--out", "one"]) == 0
    for name, value in load_file("one/model.safetensors").items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
    assert yaml.safe_load(Path("run/config.yaml").read_text())["devices"] == "2"


def test_a_trained_network_is_exported_with_its_card(here):
    more = ("--steps", "3", "--export", "net", "--note", "Scaled down.", "--mean", "[0.5]")
    assert main(["train", *SMALL, *more]) == 0
    card = json.loads(Path("net/card.json").read_text())
    assert card["note"] == "Scaled down."
    assert card["options"]["objective"].startswith("PGD(")
    assert card["options"]["seed"] == 0
    assert card["mean"] == [0.5]
    assert card["held_out"] == 10
    assert set(card["figures"]) >= {"accuracy", "kendall", "random_kendall"}
    assert str(here) not in json.dumps(card)
    model = models.load("net")
    with np.load("images.npz") as file:
        images = torch.from_numpy(file["x_test"])[:, None].float() / 255
    plain = models.load(
        "rar-cnn",
        weights="run/model.safetensors",
        mean=[0.5],
        size=8,
        classes=2,
        widths=(2, 2),
        hidden=4,
    )
    torch.testing.assert_close(model(images), plain(images), rtol=0.05, atol=0.05)
    assert main(["train", *SMALL, *more, "--resume", "--export", "again"]) == 0
    assert json.loads(Path("again/card.json").read_text()) == card


def test_an_export_that_cannot_be_is_told_first(here, capsys):
    more = ("--steps", "3", "--export", "net", "--model", "train_nets:small")
    assert "--export is for reference networks" in fails(capsys, *SMALL, *more)
    assert not Path("run").exists()


def test_null_takes_a_setting_back():
    given = ("--config", "fashion-mnist-cpu/start", "--epochs", "null", "--steps", "7")
    settings = command.parser().parse_args([*given, "--weights", "null"])
    assert (settings.epochs, settings.steps, settings.weights) == (None, 7, None)


@pytest.mark.parametrize("own", [None, 0.25])
def test_a_normalisation_takes_the_place_of_the_models(here, own):
    """Not beside it: pixels would be normalised twice."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    model = net if own is None else models.Classifier(net, own, 0.5)
    found = command._classifier(model, [0.1], None, None)
    assert inside(found) == {"mean": pytest.approx([0.1]), "std": own and 0.5}
    assert found.module is net


def test_a_run_whose_first_weights_are_gone_resumes(here):
    assert main(["train", *SMALL, "--steps", "2", "--out", "first"]) == 0
    given = ("--weights", "first/model.safetensors", "--steps", "4", "--validate-every", "2")
    assert main(["train", *SMALL, *given, "--out", "second"]) == 0
    weights = load_file("second/model.safetensors")
    Path("first/model.safetensors").unlink()
    Path("second/model.safetensors").unlink()
    assert main(["train", *SMALL, *given, "--out", "second", "--resume"]) == 0
    for name, value in load_file("second/model.safetensors").items():
        assert torch.equal(value, weights[name])


def test_nothing_is_held_out_where_figures_are_of_the_test(here):
    options = [part for part in SMALL if part not in ("--hold-out", "10")]
    given = ("--validate-on", "test", "--epochs", "1", "--batch", "50", "--validate-epochs", "1")
    assert main(["train", *options, *given]) == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["hold_out"] == 0
