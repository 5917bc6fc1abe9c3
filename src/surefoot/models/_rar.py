"""The networks of robust attribution regularisation (RAR, arXiv 1905.09957).

As its released code has them: RARCNN for MNIST and Fashion-MNIST, RARResNet for GTSRB and
Flower-17.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1


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


class Standardise(nn.Module):
    """Each image minus its mean, over its deviation or 1/sqrt(C H W) if that is larger.

    `tf.image.per_image_standardization` on pixels of 0 to 255, which is what images in [0, 1] are
    scaled to first, so that the floor means the same.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images, (N, C, H, W)."""
        pixels = 255 * images
        mean = pixels.mean((1, 2, 3), keepdim=True)
        variance = (pixels - mean).square().mean((1, 2, 3), keepdim=True)
        # Clamped before the root, whose derivative at 0 is infinite.
        return (pixels - mean) / variance.clamp(min=1 / images[0].numel()).sqrt()


class SameConv(nn.Conv2d):
    """A 3x3 convolution without bias, padded as TensorFlow's SAME pads.

    With stride 2 and an even side that is one row below and one column right, none above or left.
    """

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__(before, width, 3, stride, bias=False)
        nn.init.normal_(self.weight, std=math.sqrt(2 / (9 * width)))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, width, H / stride, W / stride), rounded up."""
        wide, high = (_same(side, self.stride[0]) for side in (x.shape[3], x.shape[2]))
        return super().forward(functional.pad(x, (*wide, *high)))


class Unit(nn.Module):
    """A pre-activation residual unit without batch norm.

    Its shortcut averages stride x stride pixels and pads channels with zeros on both sides.
    `shared` has the first activation before the branch, so that the shortcut gets it, too.
    """

    def __init__(self, before: int, width: int, stride: int, *, shared: bool) -> None:
        super().__init__()
        self.act1, self.act2 = nn.LeakyReLU(SLOPE), nn.LeakyReLU(SLOPE)
        self.conv1 = SameConv(before, width, stride)
        self.conv2 = SameConv(width, width)
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.extra, self.shared = width - before, shared

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, width, H / stride, W / stride)."""
        active = self.act1(x)
        inner = self.conv2(self.act2(self.conv1(active)))
        shortcut = self.shrink(active if self.shared else x)
        channels = (self.extra // 2, self.extra - self.extra // 2)
        result: Tensor = inner + functional.pad(shortcut, (0, 0, 0, 0, *channels))
        return result


class RARResNet(nn.Module):
    """RAR's pre-activation ResNet for GTSRB (2 units a stage) and Flower-17 (1 unit).

    No batch norm; leaky ReLU of slope 0.1; widths 16, 32, 64 with strides 1, 2, 2; each image is
    standardised inside, so a map by integrated gradients from a black image is the input times
    the gradient, but for a factor (released code). Inputs are in [0, 1].

    Args:
        channels: of the input images, whose sides must be divisible by 4.
        classes: number of logits.
        units: residual units in each of the three stages.

    >>> import torch
    >>> RARResNet(classes=43, units=2)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 43])
    """

    def __init__(self, channels: int = 3, classes: int = 17, *, units: int = 1) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.conv = SameConv(channels, 16)
        stages = [_stage(16, 16, 1, units), _stage(16, 32, 2, units), _stage(32, 64, 2, units)]
        self.stage1, self.stage2, self.stage3 = stages
        self.act = nn.LeakyReLU(SLOPE)
        self.fc = nn.Linear(64, classes)
        nn.init.uniform_(self.fc.weight, -math.sqrt(3 / 64), math.sqrt(3 / 64))
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        x = self.conv(self.standardise(images))
        x = self.act(self.stage3(self.stage2(self.stage1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stage(before: int, width: int, stride: int, units: int) -> nn.Sequential:
    first = Unit(before, width, stride, shared=stride == 1)
    return nn.Sequential(first, *(Unit(width, width, 1, shared=False) for _ in range(1, units)))


def _same(side: int, stride: int) -> tuple[int, int]:
    """How many zeros before and after, for kernels of 3."""
    total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
    return total // 2, total - total // 2


def _truncated_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.trunc_normal_(module.weight, std=0.1, a=-0.2, b=0.2)
        nn.init.constant_(module.bias, 0.1)
