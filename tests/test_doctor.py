import re
import sys

import pytest
import torch

from surefoot.cli import main

pytest.importorskip("jsonargparse")
from surefoot.cli import doctor

NETS = """
import torch
from torch import nn

def net(act):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=2, padding=1), act, nn.Conv2d(2, 2, 3, padding=1), act,
        nn.Flatten(), nn.Linear(2 * 32 * 32, 4))

def relu():
    return net(nn.ReLU())

def tanh():
    return net(nn.Tanh())

class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = relu()
    def forward(self, x):
        return self.net(x.detach())

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
"""


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """What `surefoot doctor` prints about a model."""
    (tmp_path / "doctor_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert main(["doctor", *arguments]) == 0
        return capsys.readouterr().out

    yield run
    sys.modules.pop("doctor_nets", None)


def test_the_machine(said):
    text = said()
    assert f"torch    {torch.__version__}" in text
    assert f"python   {sys.version.split()[0]}" in text
    assert re.search(r"devices  cpu: \d+ threads of \d+ cores", text)
    assert re.search(r"extra    cli: jsonargparse \d", text)
    assert "decoys" not in text


def test_missing_extras_give_the_install_command(said, monkeypatch):
    monkeypatch.setitem(doctor._EXTRAS, "timm", ("no-such-package",))
    assert 'extra    timm: no-such-package not installed: pip install "surefoot[timm]"' in said()


def second(text, score):
    return re.search(rf"second derivative of {score}: (.*)", text)[1]


def test_a_relu_networks_logit_has_no_second_derivative(said):
    relu = said("--model", "doctor_nets:relu", "--size", "64")
    assert "input (N, 3, 64, 64) in [0, 1], 4 classes (names unknown: --labels FILE)" in relu
    assert "input gradient: works" in relu
    assert second(relu, "logit").startswith("is zero: the model is piecewise linear")
    assert second(relu, "log_probability") == "works"
    tanh = said("--model", "doctor_nets:tanh", "--size", "64")
    assert second(tanh, "logit") == "works"


def test_a_model_without_gradient(said):
    text = said("--model", "doctor_nets:Detached", "--size", "64")
    assert "input gradient: fails: the model's output has no gradient" in text
    assert second(text, "logit").startswith("fails: ")


def test_layers_fit_for_decoys(said):
    rows = said("--model", "doctor_nets:relu", "--size", "64").partition("decoys")[2].splitlines()
    assert {"1", "2"} <= {row.split()[0] for row in rows[1:]} <= {"0", "1", "2"}
    assert sum("(default)" in row for row in rows) == 1
    for row in rows[1:]:
        assert "2 x 32 x 32" in row
        assert " 0.17 " in row


def test_a_model_whose_patches_all_meet(said):
    text = said("--model", "doctor_nets:flat", "--size", "64")
    assert re.search(r"decoys   layer .*\n +0 +12288 +1.00 +all +100%  \(default\)", text)


def test_a_grey_network(said):
    assert "input (N, 1, 28, 28) in [0, 1], 10 classes" in said("--model", "fashion-mnist/pgd")


ONCE = """
import torch
from torch import nn
from torch.autograd.function import once_differentiable

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

class Once(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    def forward(self, x):
        return self.head(Square.apply(x))
"""


def test_the_routes_of_attacks(said, tmp_path):
    (tmp_path / "doctor_once.py").write_text(ONCE)

    def route(name):
        text = said("--model", name, "--size", "64" if "nets" in name else "8")
        return re.search(r"attacks on maps: (.*)", text)[1]

    relu, tanh = (route(f"doctor_nets:{name}") for name in ("relu", "tanh"))
    for each in (relu, tanh):
        found = re.search(
            r"^finite: exact works; finite works; they agree to cosine ([\d.]+)", each
        )
        assert float(found[1]) > 0.99
    assert relu.endswith("softplus beta=30 stands in for the model's kinks")
    assert "softplus" not in tanh
    once = route("doctor_once:Once")
    assert re.match(
        r"finite: exact fails \(the map has no derivative: Square.*; finite works", once
    )
    assert route("doctor_nets:Detached").startswith("none: exact fails (the model's output has no")
    sys.modules.pop("doctor_once")
