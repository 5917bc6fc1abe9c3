"""Draws that all samples share: made by number when asked for, or given by the caller."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from surefoot import checks
from surefoot.errors import SurefootError


@dataclass(frozen=True, eq=False)
class Noise:
    """Draws by number.

    Attributes:
        count: how many there are.
        draw: from some of the numbers to draws (v, ...), each shaped like one image.
    """

    count: int
    draw: Callable[[slice], Tensor]


def given_or_drawn(
    noise: Tensor | None, images: Tensor, samples: int, draw: Callable[[slice], Tensor]
) -> Noise:
    """The draws given by the caller, (M, ...) each shaped like one image, or `samples` new ones."""
    if noise is None:
        checks.check_whole("samples", samples, 1)
        return Noise(samples, draw)
    if not isinstance(noise, Tensor) or noise.shape[1:] != images.shape[1:] or not len(noise):
        raise SurefootError(
            f"noise is {tuple(getattr(noise, 'shape', ())) or type(noise).__name__}, expected "
            f"(M, {', '.join(map(str, images.shape[1:]))}): draws shaped like one image each"
        )
    return Noise(len(noise), noise.to(images).__getitem__)
