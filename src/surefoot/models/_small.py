"""Small networks: for records, and for MNIST in saliency-guided training."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Dense layers with ReLU between them, for records (N, F).

    Args:
        features: numbers in a record.
        classes: number of logits.
        hidden: units of each hidden layer (this project's choice).

    >>> list(dict(MLP(4).named_children()))
    ['fc1', 'relu1', 'fc2', 'relu2', 'fc3']
    """

    def __init__(
        self, features: int, classes: int = 2, *, hidden: Sequence[int] = (128, 64)
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, after) in enumerate(pairwise((features, *hidden)), start=1):
            layers[f"fc{number}"] = nn.Linear(before, after)
            layers[f"relu{number}"] = nn.ReLU()
        layers[f"fc{len(hidden) + 1}"] = nn.Linear((features, *hidden)[-1], classes)
        super().__init__(layers)


class SGTCNN(nn.Sequential):
    """The MNIST network of saliency-guided training (arXiv 2111.14338, released code).

    Two 3x3 convolutions without padding, max pooling, two dense layers, dropout before each of
    those. The released network ends in a log-softmax, this one in logits; its inputs are
    normalised by mean 0.1307 and deviation 0.3081 there (`models.Classifier` does it).

    Args:
        channels: of the input images.
        size: their side in pixels.
        classes: number of logits.

    >>> import torch
    >>> SGTCNN(size=12, classes=4).eval()(torch.rand(2, 1, 12, 12)).shape
    torch.Size([2, 4])
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(channels, 32, 3),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 64, 3),
                relu2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
                dropout1=nn.Dropout(0.25),
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * ((size - 4) // 2) ** 2, 128),
                relu3=nn.ReLU(),
                dropout2=nn.Dropout(0.5),
                fc2=nn.Linear(128, classes),
            )
        )
