"""What a run gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class Trained:
    """A trained model and how it went.

    Attributes:
        model: the one that was given, in evaluation mode, with the last weights (their moving
            average where the loop has one).
        steps: optimiser steps done.
        terms: of the loss, as last logged.
        figures: of the last validation; empty if there was none.
        folder: of weights, checkpoints and logs; None if nothing was written.
        best: weights of the checkpoint with the highest `best_by`; None without validation.
        seconds: of one step, the mean of those this process made; NaN if it made none.

    >>> trained = Trained(nn.Linear(2, 2).eval(), 100, {"clean": 0.1}, {"accuracy": 0.9})
    >>> trained.steps, trained.figures["accuracy"], trained.folder
    (100, 0.9, None)
    """

    model: nn.Module = field(repr=False)
    steps: int
    terms: Mapping[str, float]
    figures: Mapping[str, float]
    folder: Path | None = None
    best: Path | None = None
    seconds: float = float("nan")
