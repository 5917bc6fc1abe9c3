"""Residual networks for small images (He et al., arXiv 1512.03385).

Every ReLU is a module of its own and none works in place, so that hooks, softplus surrogates and
second derivatives work everywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input.

    Where the shape changes, `project` gives the shortcut a 1x1 convolution with batch norm (the
    paper's option B); without it the shortcut skips pixels and pads channels with zeros (option
    A).
    """

    def __init__(self, before: int, width: int, stride: int, *, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(before, width, stride, project)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, width, H / stride, W / stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        result: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return result


class Subsample(nn.Module):
    """Every `stride`-th pixel, with `extra` channels of zeros, half before and half after."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C + extra, H / stride, W / stride)."""
        before = self.extra // 2
        kept = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, before, self.extra - before))


class ResNet(nn.Module):
    """A residual network whose first convolution is 3x3 with stride 1, without max pooling.

    Its parameters carry the names that checkpoints for CIFAR-10 mostly use: conv1, bn1, layer1.0,
    ..., linear. Weights start as He et al. have them (arXiv 1502.01852).

    Args:
        blocks: number of blocks in each stage; every stage after the first halves the side.
        widths: channels of each stage.
        channels: of the input images.
        classes: number of logits.
        project: the kind of shortcut, see `Block`.

    >>> ResNet((1, 1), (4, 8), classes=5).eval()(torch.rand(2, 3, 16, 16)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        channels: int = 3,
        classes: int = 10,
        *,
        project: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        befores = (widths[0], *widths)
        self.stages = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        for index, stage in enumerate(self.stages):
            first = Block(befores[index], widths[index], 2 if index else 1, project=project)
            more = (
                Block(widths[index], widths[index], 1, project=project)
                for _ in range(1, blocks[index])
            )
            self.add_module(stage, nn.Sequential(first, *more))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], classes)
        self.apply(_he_normal)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.linear(torch.flatten(self.pool(x), 1))
        return logits


def resnet20(channels: int = 3, classes: int = 10) -> ResNet:
    """The paper's ResNet-20 for CIFAR-10 (section 4.2), 0.27 million parameters."""
    return ResNet((3, 3, 3), (16, 32, 64), channels, classes, project=False)


def resnet56(channels: int = 3, classes: int = 10) -> ResNet:
    """The paper's ResNet-56 for CIFAR-10 (section 4.2), 0.85 million parameters."""
    return ResNet((9, 9, 9), (16, 32, 64), channels, classes, project=False)


def resnet18(channels: int = 3, classes: int = 10) -> ResNet:
    """ResNet-18 for images of about 32 pixels, 11.2 million parameters."""
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), channels, classes)


def _shortcut(before: int, width: int, stride: int, project: bool) -> nn.Module:
    if before == width and stride == 1:
        return nn.Identity()
    if not project:
        return Subsample(stride, width - before)
    convolution = nn.Conv2d(before, width, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width))


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
