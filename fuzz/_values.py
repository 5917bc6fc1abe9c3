"""What may be given: right values and wrong ones of every sort, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from surefoot import attack, explain, models


def picture(net: nn.Module) -> nn.Module:
    """Seeded weights, evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return net.eval()


def small(channels: int = 3) -> nn.Module:
    """A network of pictures (N, C, 8, 8) with 4 classes."""
    return picture(
        nn.Sequential(
            *(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4)),
            *(nn.Flatten(), nn.Linear(256, 4)),
        )
    )


class Tuple(nn.Module):
    """Gives two things."""

    def forward(self, inputs):
        """A tuple."""
        return inputs.flatten(1)[:, :4], inputs


MODELS: dict[str, Callable[[], Any]] = {
    "net": small,
    "grey": lambda: small(1),
    "classifier": lambda: models.Classifier(small(), 0.5, [0.2, 0.3, 0.2], layout="image"),
    "signals": lambda: models.Classifier(
        picture(nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 4))),
        layout="signal",
    ),
    "records": lambda: picture(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4))),
    "training": lambda: small().train(),
    "double": lambda: small().double(),
    "half": lambda: small().half(),
    "bfloat16": lambda: small().to(torch.bfloat16),
    "nan": lambda: _broken(small()),
    "tuple": Tuple,
    "identity": nn.Identity,
    "function": lambda: lambda x: x.flatten(1),
    "None": lambda: None,
    "text": lambda: "net",
}


def _broken(net: nn.Module) -> nn.Module:
    net[-1].weight.data.fill_(torch.nan)
    return net


def _rand(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


INPUTS: dict[str, Callable[[], Any]] = {
    "pictures": lambda: _rand(2, 3, 8, 8),
    "grey": lambda: _rand(2, 1, 8, 8),
    "one": lambda: _rand(1, 3, 8, 8),
    "signals": lambda: _rand(2, 2, 12),
    "records": lambda: _rand(3, 5),
    "wide": lambda: _rand(2, 3, 8, 9),
    "tiny": lambda: _rand(2, 3, 1, 1),
    "double": lambda: _rand(2, 3, 8, 8).double(),
    "half": lambda: _rand(2, 3, 8, 8).half(),
    "bfloat16": lambda: _rand(2, 3, 8, 8).to(torch.bfloat16),
    "gradient": lambda: _rand(2, 3, 8, 8).requires_grad_(),
    "strided": lambda: _rand(3, 2, 8, 8).transpose(0, 1),
    "constant": lambda: torch.full((2, 3, 8, 8), 0.5),
    "zeros": lambda: torch.zeros(2, 3, 8, 8),
    "huge": lambda: 1e30 * _rand(2, 3, 8, 8),
    "negative": lambda: -_rand(2, 3, 8, 8),
    "nan": lambda: torch.full((2, 3, 8, 8), torch.nan),
    "infinite": lambda: torch.full((2, 3, 8, 8), torch.inf),
    "empty": lambda: torch.zeros(0, 3, 8, 8),
    "flat": lambda: _rand(5),
    "number": lambda: torch.tensor(0.5),
    "integers": lambda: torch.ones(2, 3, 8, 8, dtype=torch.int64),
    "bool": lambda: torch.ones(2, 3, 8, 8, dtype=torch.bool),
    "complex": lambda: torch.ones(2, 3, 8, 8, dtype=torch.complex64),
    "meta": lambda: torch.ones(2, 3, 8, 8, device="meta"),
    "sparse": lambda: _rand(2, 3, 8, 8).to_sparse(),
    "array": lambda: _rand(2, 3, 8, 8).numpy(),
    "list": lambda: [[0.5, 0.25]],
    "None": lambda: None,
    "text": lambda: "pictures",
    "six": lambda: _rand(2, 1, 1, 3, 8, 8),
}
TARGETS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "1": lambda: 1,
    "each": lambda: torch.tensor([0, 3]),
    "99": lambda: 99,
    "-1": lambda: -1,
    "2**62": lambda: 2**62,
    "three": lambda: torch.tensor([0, 1, 2]),
    "floats": lambda: torch.tensor([0.0, 1.0]),
    "list": lambda: [0, 1],
    "words": lambda: ["cat", "dog"],
    "text": lambda: "cat",
    "nan": lambda: float("nan"),
    "array": lambda: np.array([0, 1]),
    "True": lambda: True,
    "object": object,
    "column": lambda: torch.zeros(2, 1, dtype=torch.int64),
}
NUMBERS: dict[str, Callable[[], Any]] = {
    str(value): (lambda value=value: value)
    for value in (0, 1, 2, 3, -1, 0.5, 0.1, 1.5, -0.5, 1e-30, 1e30, 2**63, None, True, "3", "")
} | {
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "int64": lambda: np.int64(2),
    "float32": lambda: np.float32(0.25),
    "tensor": lambda: torch.tensor(2),
    "[]": list,
    "[1]": lambda: [1],
    "array": lambda: np.array([0.1, 0.2]),
    "(0, 1)": lambda: (0, 1),
    "(1, 0)": lambda: (1, 0),
    "(-9, 9)": lambda: (-9, 9),
    "{}": dict,
    "object": object,
    "logit": lambda: "logit",
    "loss": lambda: "loss",
    "sum_abs": lambda: "sum_abs",
    "mean": lambda: "mean",
    "black": lambda: "black",
    "0": lambda: "0",
    "3.": lambda: "3",
    "absent": lambda: "absent",
    "path": lambda: Path("absent"),
    "net": small,
    "pictures": lambda: _rand(2, 3, 8, 8),
    "linf": lambda: attack.Linf(0.1, steps=2),
    "gradient": explain.Gradient,
    "function": lambda: len,
}
