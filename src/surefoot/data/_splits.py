"""Which samples are for training and which for testing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surefoot.errors import SurefootError


def check_split(split: str, splits: Sequence[str], name: str) -> None:
    """Raise unless `split` is one of `splits`."""
    if split not in splits:
        raise SurefootError(f"{name} has no split {split!r}; expected one of {list(splits)}")


def by_class(labels: Tensor) -> list[tuple[int, Tensor]]:
    """Each class that there is and the numbers of its samples, ascending."""
    return [
        (label, (labels == label).nonzero().flatten()) for label in sorted(set(labels.tolist()))
    ]


def hold_out(labels: Tensor, held_out: float, split: str, seed: int = 0) -> Tensor:
    """The numbers of a split of samples that come without one, ascending.

    Args:
        labels: the classes, (N,).
        held_out: how many samples of each class are for the test; a share if below 1.
        split: "train" or "test".
        seed: of the draw.

    >>> hold_out(torch.tensor([0, 0, 0, 1, 1, 1]), 1, "test").shape
    torch.Size([2])
    """
    check_split(split, ("train", "test"), "a set split by held_out=")
    if held_out <= 0:
        raise SurefootError(f"held_out={held_out}, expected a number of each class, or a share")
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for label, of_class in by_class(labels):
        count = round(held_out * len(of_class)) if held_out < 1 else int(held_out)
        if not 0 < count < len(of_class):
            raise SurefootError(
                f"held_out={held_out} of the {len(of_class)} samples of class {label} leaves "
                "none to train or to test"
            )
        order = of_class[torch.randperm(len(of_class), generator=generator)]
        parts.append(order[:count] if split == "test" else order[count:])
    return torch.cat(parts).sort().values


def in_fold(labels: Tensor, fold: int, folds: int) -> Tensor:
    """Which samples (N,) bool are in a fold: of each class every `folds`-th in a fixed shuffle.

    Raises:
        SurefootError: there is no such fold.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise SurefootError(f"fold={fold} of folds={folds}, expected 0 <= fold < folds, folds >= 2")
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(len(labels), dtype=torch.bool)
    for _, of_class in by_class(labels):
        order = of_class[torch.randperm(len(of_class), generator=generator)]
        inside[order[fold::folds]] = True
    return inside
