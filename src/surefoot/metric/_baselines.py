"""What a removed place is replaced by, by name or by value."""

from collections.abc import Callable

import torch
from torch import Tensor

from surefoot import draws
from surefoot.errors import SurefootError
from surefoot.metric._blur import blur
from surefoot.paths import resolve_baseline

Baseline = str | float | Tensor | Callable[[Tensor], Tensor]


def mean(images: Tensor) -> Tensor:
    """Each channel's mean over the image; for tokens (N, T, D) over T; for records over all."""
    dims = tuple(range(2, images.ndim)) if images.ndim > 3 else (1,)
    return images.mean(dims, keepdim=True)


def black(images: Tensor) -> Tensor:
    """Zero, the lower end of the default box; for another box give the number itself."""
    return torch.zeros_like(images)


def blurred(images: Tensor) -> Tensor:
    """Each image under a Gaussian of sigma 5 in an 11 x 11 window (RISE, arXiv 1806.07421).

    RISE pads with zeros, which darkens the border; here the edges are repeated.
    """
    if images.ndim != 4:
        raise SurefootError(
            f'baseline="blur" needs images (N, C, H, W), got {tuple(images.shape)}; use "mean"'
        )
    return blur(images, 11, 5.0, edges=True)


def noise(seed: int = 0, low: float = 0.0, high: float = 1.0) -> Callable[[Tensor], Tensor]:
    """A baseline of uniform noise in [low, high), one draw for every image alike.

    >>> noise(seed=1)(torch.zeros(2, 3)).shape
    torch.Size([1, 3])
    """
    return lambda images: low + (high - low) * draws.uniform(seed, slice(0, 1), images)


NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean,
    "blur": blurred,
    "black": black,
    "noise": noise(),
}


def resolve(baseline: Baseline, images: Tensor) -> Tensor:
    """The baseline shaped like `images` (N, ...).

    Raises:
        SurefootError: an unknown name, or values that do not broadcast to the images or are not
            finite.
    """
    if isinstance(baseline, str):
        if baseline not in NAMED:
            raise SurefootError(f"baseline={baseline!r} is unknown; choose one of {list(NAMED)}")
        baseline = NAMED[baseline]
    return resolve_baseline(baseline, images)
