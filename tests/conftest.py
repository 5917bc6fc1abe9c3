"""Fixtures that several test files share."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from torch import nn

from surefoot.cli import main

torch.set_num_threads(1)


def _declare_torchvision_operators() -> torch.library.Library | None:
    """Make torchvision importable where it cannot be used in full.

    The torchvision wheel on PyPI for Linux is built for CUDA: beside a CPU-only torch its import
    stops at two operators that nothing here calls, unless they are declared.
    """
    try:
        number = version("torchvision")
    except PackageNotFoundError:
        return None
    if sys.platform != "linux" or torch.version.cuda is not None or "+" in number:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


# Kept: the operators go with it.
_OPERATORS = _declare_torchvision_operators()


def small_net(side: int = 16, classes: int = 5) -> nn.Module:
    """A convolutional classifier of (N, 3, side, side), in evaluation mode, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(4 * (side // 2) ** 2, classes),
        ).eval()


@pytest.fixture
def net() -> nn.Module:
    return small_net()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture file, 40 x 30, random."""
    image = pytest.importorskip("PIL.Image")
    pixels = torch.randint(0, 256, (30, 40, 3), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "photo.png"
    image.fromarray(pixels.to(torch.uint8).numpy()).save(path)
    return path


NETS = """
import torch, warnings
from torch import nn

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(196, 3))

def kinked():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 3))

class Failing(nn.Module):
    '''Fails after some forward passes.'''
    calls = 0
    def __init__(self, error, after=8):
        super().__init__()
        self.net, self.error, self.after = small(), error, after
    def forward(self, x):
        self.calls += 1
        if self.calls > self.after:
            raise self.error
        return self.net(x)

def failing():
    return Failing(RuntimeError("the third photograph"))

def interrupted():
    return Failing(KeyboardInterrupt())

def failing_late():
    return Failing(RuntimeError("the third photograph"), 60)

def interrupted_late():
    return Failing(KeyboardInterrupt(), 60)

class Fickle(nn.Module):
    '''Changes its mind with every change of the input.'''
    def __init__(self):
        super().__init__()
        self.net, self.seen = small(), None
    def forward(self, x):
        if self.seen is None:
            self.seen = x.detach().clone()
        moved = (x.detach() != self.seen[:1]).flatten(1).any(1)
        logits = self.net(x)
        best = self.net(self.seen[:1]).argmax(1)
        return logits - 100 * moved[:, None] * nn.functional.one_hot(best, 3)

def fickle():
    return Fickle()

def broken():
    net = small()
    net[0].weight.data[0, 0, 0, 0] = float("nan")
    return net

def regression():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 1))

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 2), nn.Linear(2, 2))
"""


@pytest.fixture
def here(tmp_path, monkeypatch, photo):
    """A working directory with a photograph, a module of networks and class names."""
    (tmp_path / "my_nets.py").write_text(NETS)
    (tmp_path / "names.txt").write_text("cat\ndog\nfish\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_nets", None)


@pytest.fixture
def fails(capsys):
    """A call of the command line that must fail; gives the single line it leaves."""

    def call(*arguments: object, code: int = 2) -> str:
        assert main([str(a) for a in arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        assert err.startswith("surefoot: error: ")
        return err

    return call
