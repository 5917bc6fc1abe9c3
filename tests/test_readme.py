"""The README's Python runs, on a small net and a small picture in place of the large ones."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import surefoot

README = Path(__file__).parents[1] / "README.md"


class Features(nn.Module):
    """With a layer named features.4, as the README has it."""

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()]
        self.features = nn.Sequential(*convolutions, nn.Conv2d(4, 4, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:a decoy map is zero everywhere")  # a tiny random ReLU net
def test_blocks_of_python_run(monkeypatch):
    torch.manual_seed(0)
    net, picture = Features().eval(), torch.rand(3, 40, 40)
    monkeypatch.setattr(surefoot.models, "load", lambda name: net)
    monkeypatch.setattr(surefoot.data, "load_image", lambda path, size: picture)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    for block in blocks:
        exec(block, names)  # noqa: S102 (our own README)
    assert len(blocks) == 6
    assert names["heat"].shape == (1, 40, 40)
