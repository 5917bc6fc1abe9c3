"""The networks of robust attribution regularisation (RAR, arXiv 1905.09957).

As its released code has them, Apache-2.0; MNIST and Fashion-MNIST share the first, GTSRB and
Flower the second.
"""

from collections import OrderedDict

from torch import nn


class RARCNN(nn.Sequential):
    """RAR's network for MNIST and Fashion-MNIST: two 5x5 convolutions and two dense layers.

    conv1 5x5, ReLU, max pooling, conv2 5x5, ReLU, max pooling, fc1, ReLU, fc2, with TensorFlow's
    SAME padding; weights from a normal distribution of deviation 0.1 cut off at two deviations,
    biases 0.1 (released code). Its inputs are in [0, 1], without normalisation.

    Args:
        channels: of the input images.
        size: their side in pixels.
        classes: number of logits.
        widths: channels after conv1 and conv2.
        hidden: units of fc1.

    >>> import torch
    >>> RARCNN()(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        classes: int = 10,
        *,
        widths: tuple[int, int] = (32, 64),
        hidden: int = 1024,
    ) -> None:
        first, second = widths
        side = -(-size // 4)  # each pooling rounds up, as SAME does
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(channels, first, 5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2, ceil_mode=True),
                conv2=nn.Conv2d(first, second, 5, padding=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2, ceil_mode=True),
                flatten=nn.Flatten(),
                fc1=nn.Linear(second * side * side, hidden),
                relu3=nn.ReLU(),
                fc2=nn.Linear(hidden, classes),
            )
        )
        self.apply(_truncated_normal)


def _truncated_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.trunc_normal_(module.weight, std=0.1, a=-0.2, b=0.2)
        nn.init.constant_(module.bias, 0.1)
