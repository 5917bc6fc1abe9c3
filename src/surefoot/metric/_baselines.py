"""What a removed place is replaced by, by name or by value."""

from collections.abc import Callable

import torch
from torch import Tensor

from surefoot import draws
from surefoot.errors import SurefootError
from surefoot.maps import Layout, layout_of, place_axes
from surefoot.metric._blur import blur
from surefoot.paths import resolve_baseline

Baseline = str | float | Tensor | Callable[[Tensor], Tensor]


def mean(images: Tensor, layout: Layout | None = None) -> Tensor:
    """Each channel's mean over its places: a plane, a length, the tokens; of a record over all."""
    return images.mean(place_axes(layout_of(images, layout=layout)), keepdim=True)


def black(images: Tensor) -> Tensor:
    """Zero, the lower end of the default box; for another box give the number itself."""
    return torch.zeros_like(images)


def blurred(images: Tensor, layout: Layout | None = None) -> Tensor:
    """Each image under a Gaussian of sigma 5 in an 11 x 11 window (RISE, arXiv 1806.07421).

    Signals are blurred along their length.

    RISE pads with zeros, which darkens the border; here the edges are repeated.
    """
    if images.ndim == 3 and layout == "signal":
        return blurred(images[:, :, None])[:, :, 0]
    if images.ndim != 4:
        raise SurefootError(
            'baseline="blur" needs images (N, C, H, W) or signals (N, C, L), got '
            f'{tuple(images.shape)}; use "mean"'
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


# Names whose value depends on which axes are places.
NEED_LAYOUT = {"mean": mean, "blur": blurred}


def resolve(baseline: Baseline, images: Tensor, layout: Layout | None = None) -> Tensor:
    """The baseline shaped like `images` (N, ...), which have that layout.

    Raises:
        SurefootError: an unknown name, or values that do not broadcast to the images or are not
            finite.
    """
    if isinstance(baseline, str):
        if baseline not in NAMED:
            raise SurefootError(f"baseline={baseline!r} is unknown; choose one of {list(NAMED)}")
        if baseline in NEED_LAYOUT:
            return NEED_LAYOUT[baseline](images, layout).expand_as(images)
        baseline = NAMED[baseline]
    return resolve_baseline(baseline, images)
