"""Command lines with options and files of every sort, drawn by hypothesis."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies
from PIL import Image

from fuzz._drawn import shaken
from fuzz._outcome import Tally
from surefoot import SurefootError
from surefoot.cli import main

NETS = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)).eval()


def grey():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)).eval()


def broken():
    raise RuntimeError("no")
"""
BASE = {
    "explain": ["photo.png", "--model", "fuzz_nets:net", "--size", "8", "-o", "map.png"],
    "attack": ["photo.png", "--model", "fuzz_nets:net", "--size", "8", "-o", "attack.png"],
    "doctor": ["--model", "fuzz_nets:net", "--size", "8"],
    "train": [
        *("--data", "arrays:images.npz", "--model", "rar-cnn", "--objective", "Natural()"),
        *("--steps", "2", "--batch", "4", "--hold-out", "4", "--out", "run"),
        *("--adversary", "none", "--audit", "none"),
    ],
    "audit": [
        *("photo.png", "--model", "fuzz_nets:net", "--size", "8", "-o", "run"),
        *("--explainers", "{g: Gradient()}", "--metrics", "[spearman]", "--control-draws", "1"),
        *("--attacks", "{topk: 'TopK(Linf(0.1, steps=1), k=5)'}"),
    ],
    "certify": [
        *("photo.png", "--model", "fuzz_nets:net", "--size", "8", "-o", "certificate.png"),
        *("--draws", "4"),
    ],
    "report": ["held", "-o", "page.html"],
    "completion": ["bash"],
}
QUICK = {
    "explain": ["--explainer", "Gradient()"],
    "attack": ["--explainer", "Gradient()", "--steps", "2"],
}
OPTIONS = {
    "explain": (
        *("--model", "--explainer", "--weights", "--target", "--size", "--mean", "--std", "--out"),
        *("--channels", "--labels", "--device", "--threads", "--config", "--classes", "--save"),
    ),
    "attack": (
        *("--model", "--explainer", "--attack", "--epsilon", "--steps", "--k", "--target", "--out"),
        *("--seed", "--norm", "--size", "--config", "--device", "--labels", "--save"),
    ),
    "doctor": ("--model", "--size", "--channels", "--weights", "--device", "--config", "--classes"),
    "train": (
        *("--data", "--model", "--objective", "--steps", "--epochs", "--batch", "--hold-out"),
        *("--optimizer", "--schedule", "--seed", "--logs", "--resume", "--weights", "--mean"),
        *("--validate-on", "--augment", "--export", "--config", "--data-options", "--average"),
        *("--model-options", "--accumulate", "--clip", "--threads", "--samples", "--longer"),
    ),
    "audit": (
        *("--model", "--explainers", "--attacks", "--metrics", "--limit", "--block", "--seed"),
        *("--batch-size", "--control-draws", "--data", "--split", "--size", "--config", "--out"),
        *("--data-options", "--root", "--reduction", "--photos", "--device", "--dask"),
    ),
    "certify": (
        *("--model", "--explainer", "--k", "--sigma", "--draws", "--tau", "--alpha", "--noise"),
        *("--exact", "--reduction", "--seed", "--target", "--save-mask", "--out", "--config"),
    ),
    "report": ("--folders", "--out", "--config"),
    "completion": ("--out", "--config"),
}
VALUES = (
    *("", "0", "1", "-1", "2", "8", "0.5", "nan", "inf", "1e99", "none", "null", "true", "[]"),
    *("{}", "[1, 2", "{a: 1}", "text", "Gradient()", "Gradient(", "Decoy(Gradient())", "TopK()"),
    *("SmoothGrad(Gradient(), samples=2)", "Linf(0.1)", "PGD()", "SCAAT()", "SGD(lr=0.1)", "Adam"),
    *("CosineAnnealingLR()", "fuzz_nets:net", "fuzz_nets:grey", "fuzz_nets:broken", "os:getcwd"),
    *("absent:net", "absent.pt2", "photo.png", "images.npz", "arrays:images.npz", "folder:."),
    *("mlp", "rar-cnn", "text-cnn", "cifar10", "weights.safetensors", "labels.txt", "binary.bin"),
    *("config.yaml", "wrong.yaml", "bomb.yaml", "deep.yaml", ".", "..", "/", "/dev/null", "\0"),
    *("absent/absent/a.png", "a.gif", "a.png", "*", "cpu", "cuda", "cuda:99", "é" * 300, "--help"),
    *("CropAndFlip(padding=1)", "csv", "sql", "l2", "linf", "chelsea", "{'download': 1}"),
    *("{a: Gradient(), b: InputXGradient()}", "{a: [1]}", "{a: JPEG(quality=75)}", "[gini]"),
    *("[gini, gini]", "held", "run", "held/audit.json", "a.csv", "a.tex", "a.html", "status"),
)


def _files() -> None:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8)).save("photo.png")
    images = generator.integers(0, 256, (20, 8, 8), np.uint8)
    labels = np.arange(20) % 3
    np.savez("images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    Path("fuzz_nets.py").write_text(NETS)
    Path("labels.txt").write_text("a\nb\nc\nd\n")
    Path("binary.bin").write_bytes(bytes(range(256)))
    Path("weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    Path("config.yaml").write_text("explainer: Gradient()\n")
    Path("wrong.yaml").write_text("- 1\n- {explainer: [1, 2]}\n")
    Path("bomb.yaml").write_text("a: &a [1, 1]\nb: [*a, *a]\n")
    Path("deep.yaml").write_text("model: " + "[" * 3000)
    with contextlib.redirect_stdout(io.StringIO()):
        main(["audit", *BASE["audit"], "-o", "held"])


@strategies.composite
def drawn(draw: Any) -> list[str]:
    """A command with some options of its own, or of none."""
    name = draw(strategies.sampled_from(sorted(BASE)))
    line = [name, *BASE[name], *QUICK.get(name, [])]
    for _ in range(draw(strategies.integers(0, 3))):
        option = draw(strategies.sampled_from(OPTIONS[name]))
        value = draw(strategies.sampled_from(VALUES))
        line += [option, value] if draw(strategies.booleans()) else [f"{option}={value}"]
    if draw(strategies.integers(0, 9)) == 0:
        line[draw(strategies.integers(0, len(line) - 1))] = draw(strategies.sampled_from(VALUES))
    return line


def called(line: list[str]) -> None:
    """One command; raises what it raises, or where its error is no line of its own."""
    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        try:
            code = main(line)
        except SystemExit as error:  # --help
            code = error.code
    errors = [one for one in told.getvalue().splitlines() if one.startswith("surefoot: error:")]
    if "Traceback" in told.getvalue():
        raise RuntimeError("a traceback")
    right = (0, 1, 2, None) if line[0] == "audit" else (0, 2, None)
    if code not in right or (code == 2 and len(errors) != 1):
        raise RuntimeError(f"code {code} and {len(errors)} lines of error")
    if code == 2:
        raise SurefootError(errors[0])


def run(number: int, seed: int = 0) -> Tally:
    """So many command lines, in a folder of their own."""
    torch.set_num_threads(1)
    tally, here = Tally(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)

        def shake(line: list[str]) -> None:
            tally.judge(" ".join(map(repr, line)), lambda: called(line))
            for made in ("run", "runs", "out"):
                shutil.rmtree(Path(folder) / made, ignore_errors=True)
            torch.set_num_threads(1)

        try:
            _files()
            return shaken(drawn(), shake, tally, number, seed)
        finally:
            os.chdir(here)
            sys.path.remove(folder)
