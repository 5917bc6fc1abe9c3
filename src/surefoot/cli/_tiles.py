"""A photograph of any size as squares of the model's, each explained by itself."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from surefoot import gradients
from surefoot.explain import Explainer, Explanation

_MOST_SHOWN = 1000  # pixels of a side in a picture


def corners(length: int, size: int) -> list[int]:
    """Where squares begin that cover a side, as evenly as can be.

    >>> corners(10, 4), corners(4, 4)
    ([0, 3, 6], [0])
    """
    count = -(-length // size)
    return [round(place * (length - size) / max(count - 1, 1)) for place in range(count)]


def each(image: Tensor, size: int) -> Iterator[tuple[slice, slice]]:
    """The places of the squares that cover (..., H, W)."""
    for top in corners(image.shape[-2], size):
        for left in corners(image.shape[-1], size):
            yield slice(top, top + size), slice(left, left + size)


def explain(
    explainer: Explainer,
    model: nn.Module,
    image: Tensor,
    target: int | None,
    size: int,
    progress: Callable[[int, int], None],
) -> Explanation:
    """The explanation of a whole photograph (1, C, H, W), one square of it at a time.

    All squares are explained for one class: the target, else the one with the largest mean
    probability over squares, which are the probabilities of the result. Where squares overlap,
    attributions are averaged. Memory is that of the photograph, its map, and one square.
    """
    places = list(each(image, size))
    shares = torch.zeros(1)
    for rows, columns in places:
        logits = gradients.predict(model, image[..., rows, columns])
        shares = shares.to(logits) + logits.softmax(1) / len(places)
    chosen = int(shares.argmax()) if target is None else target
    whole, result = torch.zeros_like(image), None
    for number, (rows, columns) in enumerate(places):
        result = explainer.explain(model, image[..., rows, columns].contiguous(), chosen)
        whole[..., rows, columns] += result.attributions
        progress(number + 1, len(places))
    assert result is not None  # noqa: S101 (an image has at least one square)
    high, wide = image.shape[-2:]
    whole /= _times(high, size).to(whole)[:, None]
    whole /= _times(wide, size).to(whole)
    details = {name: value for name, value in result.details.items() if not value.ndim}
    return replace(result, inputs=image, attributions=whole, probabilities=shares, details=details)


def _times(length: int, size: int) -> Tensor:
    """How many squares each place of a side lies in."""
    count = torch.zeros(length)
    for corner in corners(length, size):
        count[corner : corner + size] += 1
    return count


def shown(explanation: Explanation) -> Explanation:
    """The same at a size that a picture can hold: means of pixels, the strongest attributions."""
    step = -(-max(explanation.inputs.shape[-2:]) // _MOST_SHOWN)
    if step == 1:
        return explanation
    pooled = nn.functional.avg_pool2d(explanation.inputs, step, ceil_mode=True)
    each = (
        _strongest(channel, step) for channel in torch.split(explanation.attributions, 1, dim=1)
    )
    return replace(explanation, inputs=pooled, attributions=torch.cat(list(each), 1))


def _strongest(maps: Tensor, step: int) -> Tensor:
    """The value of largest size in each square of so many places."""
    above, below = (nn.functional.max_pool2d(sign * maps, step, ceil_mode=True) for sign in (1, -1))
    return torch.where(above >= below, above, -below)
