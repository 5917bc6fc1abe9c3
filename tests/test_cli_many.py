"""Many photographs in constant memory, and what every command says to programs and to nobody."""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from surefoot.cli import main

for package in ("jsonargparse", "matplotlib", "lightning_fabric", "pandas", "pyarrow", "jinja2"):
    pytest.importorskip(package)
image = pytest.importorskip("PIL.Image")
from surefoot.cli import _photographs  # noqa: E402 (needs the extra)

SMALL = ("--model", "my_nets:small", "--size", "16", "--explainer", "Gradient")
AUDIT = ("--model", "my_nets:small", "--size", "16", "--explainers", '{"gradient": "Gradient()"}')
AUDIT += ("--attacks", "{}", "--metrics", '["gini"]')


def folder(name, count):
    """A folder of pictures of noise."""
    Path(name).mkdir()
    drawn = np.random.default_rng(0)
    for number in range(count):
        pixels = drawn.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        image.fromarray(pixels).save(f"{name}/{number:03}.png")


# Many photographs


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("explain", ()),
        ("attack", ("--steps", "1", "--control-draws", "1")),
        ("certify", ("--draws", "20")),
    ],
)
def test_memory_does_not_grow_with_the_number_of_photographs(here, monkeypatch, command, more):
    folder("many", 6)
    read, image_of = [], _photographs._image

    def watched(*arguments):
        read.append(arguments[0])
        if len(read) == number:  # the last one, when a picture is half done
            read.append(held())
        return image_of(*arguments)

    monkeypatch.setattr(_photographs, "_image", watched)
    monkeypatch.setattr("surefoot.report.render", lambda *_: b"surefoot")
    options = (*SMALL, "--rows", "2", "--quiet", *more, "-o")
    found = []
    for number in (2, 6):
        read.clear()
        photos = [f"many/{place:03}.png" for place in range(number)]
        assert main([command, *photos, *options, f"{number}.png"]) == 0
        assert read[:-1] == photos  # each once
        found.append(read[-1])
    assert found[0] == found[1]
    assert {each.name for each in here.glob("6*.png")} == {"6.png", "6-2.png", "6-3.png"}


def held():
    """Bytes of all tensors that Python knows of, those that share memory once."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    storages = [each.untyped_storage() for each in tensors]
    return sum({each.data_ptr(): each.nbytes() for each in storages}.values())


def test_pictures_and_files_go_on_under_numbers(here, capsys):
    folder("many", 5)
    options = ("--rows", "2", "--save-attributions", "a.npz", "-o", "out.webp", "--json")
    assert main(["explain", "many", *SMALL, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [
        *("out.webp", "out.yaml", "a.npz"),
        *("out-2.webp", "a-2.npz", "out-3.webp", "a-3.npz"),
    ]
    assert [each["photograph"] for each in found["photographs"]] == [
        f"many/{number:03}.png" for number in range(5)
    ]
    counts = []
    for name in ("a.npz", "a-2.npz", "a-3.npz"):
        with np.load(name) as file:
            counts.append(len(file["attributions"]))
    assert counts == [2, 2, 1]
    assert main(["explain", "--config", "out.yaml", "--quiet"]) == 0
    Path("out-3.webp").write_text("somebody's")
    assert main(["explain", "--config", "out.yaml"]) == 2
    assert "out-3.webp is there already" in capsys.readouterr().err


def test_of_many_those_that_cannot_be_read_are_passed_over(here, capsys):
    folder("many", 4)
    whole = Path("many/001.png").read_bytes()
    for number in (1, 2):
        Path(f"many/00{number}.png").write_bytes(whole[:100])
    assert main(["explain", "many", *SMALL, "--json"]) == 2
    out, err = capsys.readouterr()
    found = [each["photograph"] for each in json.loads(out)["photographs"]]
    assert found == ["many/000.png", "many/003.png"]
    (line,) = err.splitlines()
    assert "cannot read the photograph many/001.png" in line
    assert line.endswith("; and 1 others; the rest is written")


def test_an_interrupted_run_keeps_its_pictures(here, capsys):
    options = ("--model", "my_nets:interrupted", "--size", "16", "--explainer", "Gradient")
    assert main(["explain", *["photo.png"] * 5, *options, "--rows", "1"]) == 130
    out, err = capsys.readouterr()
    assert "map.png to map-2.png hold the 2 photographs finished of 5" in err
    assert len(out.splitlines()) == 2
    assert Path("map-2.png").exists()
    assert not Path("map-3.png").exists()


def test_rows_are_at_least_one(here, fails):
    assert "--rows=0, expected at least 1" in fails("explain", "photo.png", "--rows", "0")


# What is said


def read(capsys, *arguments, code=0):
    """The one line of JSON that a command says."""
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    assert err == ""
    (line,) = out.splitlines()
    return json.loads(line)


def test_doctor_tells_programs(here, capsys):
    found = read(capsys, "doctor", "--model", "my_nets:kinked", "--size", "16")
    assert found["torch"] == torch.__version__
    assert found["extras"]["cli"]["pillow"]
    model = found["model"]
    assert (model["input"], model["classes"], model["labels"]) == ([3, 16, 16], 3, False)
    assert model["input gradient"] == "works"
    assert sum(layer["default"] for layer in model["layers"]) == 1
    assert "model" not in read(capsys, "doctor")
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_train_tells_programs(here, capsys):
    net = "import torch\nfrom torch import nn\ndef net():\n    return nn.Sequential("
    Path("flat_nets.py").write_text(f"{net}nn.Flatten(), nn.Linear(6, 2))\n")
    drawn = torch.Generator().manual_seed(0)
    fields, labels = torch.rand(24, 6, generator=drawn), torch.arange(24) % 2
    arrays = {"x_train": fields.numpy(), "y_train": labels.numpy()}
    np.savez("data.npz", **arrays, x_test=fields.numpy(), y_test=labels.numpy())
    options = ("--model", "flat_nets:net", "--data", "arrays:data.npz", "--objective", "Natural")
    options += ("--steps", "2", "--batch", "4", "--hold-out", "4", "--audit", "none")
    options += ("--adversary", "none", "--accelerator", "cpu", "--out", "run")
    try:
        found = read(capsys, "train", *options)
        assert found["steps"] == 2
        assert 0 <= found["figures"]["accuracy"] <= 1
        assert all(Path(name).exists() for name in found["files"])
        assert main(["train", *options, "--quiet", "--out", "two"]) == 0
        assert capsys.readouterr() == ("", "")
        Path("three").mkdir()
        Path("three/config.yaml").write_text("mine: 1\n")
        assert main(["train", *options, "--out", "three"]) == 2
        assert "three/config.yaml is there already" in capsys.readouterr().err
        assert Path("three/config.yaml").read_text() == "mine: 1\n"
    finally:
        sys.modules.pop("flat_nets", None)


def test_audit_and_report_tell_programs(here, capsys):
    folder("many", 3)
    found = read(capsys, "audit", "many", "photo.png", *AUDIT, "--out", "run")
    assert found["used"] == 4
    assert {row["metric"] for row in found["summary"]} == {"gini"}
    assert read(capsys, "audit", "status", "run")["done"] == 1
    cost = read(capsys, "audit", "many/*.png", *AUDIT, "--dry-run")["dry run"]
    assert (cost["samples"], cost["blocks"]) == (3, 1)
    told = read(capsys, "report", "run", "-o", "page.html")
    assert told == {
        "command": "report",
        "audits": [{"folder": "run", "samples": 4}],
        "files": ["page.html"],
    }
    assert main(["audit", "many", "photo.png", *AUDIT, "--out", "run", "--quiet"]) == 0
    assert main(["report", "run", "-o", "page.html", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_audit_sees_photographs_as_it_is_told(here, fails):
    assert "--fit tile is for surefoot explain" in fails("audit", "photo.png", "--fit", "tile")
    Path("page.html").write_text("mine")
    Path("run").mkdir()
    Path("run/audit.yaml").write_text("mine: 1\n")
    assert "page.html is there already" in fails("report", "run", "-o", "page.html")
    line = fails("audit", "photo.png", *AUDIT, "--out", "run")
    assert "run/audit.yaml is there already" in line
    assert Path("run/audit.yaml").read_text() == "mine: 1\n"
