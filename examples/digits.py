"""8 x 8 digits from scikit-learn and a small network, for the examples beside this file."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset


def digits(count: int) -> tuple[TensorDataset, TensorDataset]:
    """So many images to train on, in [0, 1], and 200 others."""
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bunch.target)
    return (
        TensorDataset(images[:count], labels[:count]),
        TensorDataset(images[-200:], labels[-200:]),
    )


def network() -> nn.Module:
    """From images (N, 1, 8, 8) to logits (N, 10)."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """The share of the images that are told right."""
    images, labels = data.tensors
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(images)
    return float((logits.argmax(1) == labels).float().mean())
