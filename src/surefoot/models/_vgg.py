"""VGG networks for small images (Simonyan and Zisserman, arXiv 1409.1556), with batch norm."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

# Widths of the 3x3 convolutions between poolings: configurations A and D of the paper's table 1.
_A = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_D = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Stages of 3x3 convolutions, batch norm and ReLU with max pooling after each.

    In place of the paper's three dense layers, meant for 224 pixels, one acts on the mean over
    the remaining places, as is usual for CIFAR-10.

    Args:
        widths: of the convolutions, stage by stage.
        channels: of the input images.
        classes: number of logits.

    >>> VGG(((4,), (8,)), classes=5).eval()(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self, widths: tuple[tuple[int, ...], ...], channels: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers(widths, channels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1][-1], classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W), whose sides are at least 32."""
        logits: Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits


def vgg11(channels: int = 3, classes: int = 10) -> VGG:
    """VGG-11 (configuration A) for images of about 32 pixels, 9.2 million parameters."""
    return VGG(_A, channels, classes)


def vgg16(channels: int = 3, classes: int = 10) -> VGG:
    """VGG-16 (configuration D) for images of about 32 pixels, 14.7 million parameters."""
    return VGG(_D, channels, classes)


def _layers(widths: tuple[tuple[int, ...], ...], before: int) -> Iterator[nn.Module]:
    for stage in widths:
        for width in stage:
            yield nn.Conv2d(before, width, 3, padding=1, bias=False)
            yield nn.BatchNorm2d(width)
            yield nn.ReLU()
            before = width
        yield nn.MaxPool2d(2)
