"""Fixtures that several test files share."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from torch import nn

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
