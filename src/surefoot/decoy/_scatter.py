"""Where patches lie: so that no grid of their borders runs through the whole input.

A place in the middle of a patch moves otherwise than one at its border, and what all masks have in
common the map shows. So the strips that patches lie in start anywhere along the last axis, and at
seams that run slantwise across them they step aside: by whole places, and by chance. A strip never
gets ahead of the one before it, therefore every place stays covered.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from surefoot import draws

_CPU = "cpu"  # said, because torch's default device is the user's
_APART = 8, 16  # patches from one seam to the next: least, and below


def scattered(
    places: Sequence[int], patch: int, counts: Sequence[int], seed: int, draw: int
) -> list[Tensor]:
    """For each mask the corners of its patches (P, axes); together they cover all places.

    Patches of one mask are as far from each other as on a grid, less what strips step aside and
    what patches at the edge are moved in by.

    Args:
        places: shape of a mask, two axes at least.
        patch: side of a patch, 2 at least.
        counts: classes along each axis that patches are dealt out to.
        seed: with `draw`, of where strips start and seams lie.
        draw: which of all drafts.
    """
    *before, height, width = places
    generator = draws.generator(seed, draw)
    numbers, corners = [], []
    for outer in itertools.product(*[range(-(-size // patch)) for size in before]):
        number, corner = _plane(height, width, patch, generator)
        here = torch.tensor(outer, dtype=torch.long, device=_CPU).expand(len(number), -1)
        edge = torch.tensor([size - patch for size in before], dtype=torch.long, device=_CPU)
        numbers.append(torch.cat([here, number], 1))
        corners.append(torch.cat([torch.minimum(patch * here, edge), corner], 1))
    modulus = torch.tensor(list(counts), device=_CPU)
    dealt, where = torch.cat(numbers) % modulus, torch.cat(corners)
    combined = itertools.product(*[range(count) for count in counts])
    return [where[(dealt == torch.tensor(each, device=_CPU)).all(1)] for each in combined]


def _plane(
    height: int, width: int, patch: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Strip and turn of each patch (P, 2), and its corner (P, 2)."""

    def whole(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator, device=_CPU)

    slant = patch - 1  # places that a seam runs on from strip to strip
    most = 2 + (width + 2 * height) // (_APART[0] * patch)
    aside = whole(1, patch, most).cumsum(0)
    first = -(-int(aside[-1]) // patch)
    rows = torch.arange(-first, -(-height // patch), device=_CPU)[:, None]
    turns = torch.arange(width // patch + 2, device=_CPU)[None]
    seams = whole(_APART[0] * patch, _APART[1] * patch, most).cumsum(0) - slant * len(rows)
    across = patch * turns - whole(0, patch, len(rows), 1)
    passed = torch.searchsorted(seams, across - slant * rows, right=True)
    down = patch * rows + torch.nn.functional.pad(aside, (1, 0))[passed]
    inside = (down > -patch) & (down < height) & (across > -patch) & (across < width)
    number = torch.stack([rows.expand_as(inside), turns.expand_as(inside)], -1)[inside]
    corner = torch.stack([down.clamp(0, height - patch), across.clamp(0, width - patch)], -1)
    return number, corner[inside]
