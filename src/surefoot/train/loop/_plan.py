"""What determines the weights of a run, besides model, objective and data."""

import math
from dataclasses import dataclass, field

from surefoot.checks import check_number, check_whole
from surefoot.errors import SurefootError
from surefoot.recipes import Recipe
from surefoot.train.loop._optimizers import MakeOptimizer, MakeSchedule


@dataclass(frozen=True, repr=False)
class Loop(Recipe):
    """How long, in what steps and from which seed a model is trained; `fit` takes it.

    The defaults are this project's choice. The weights depend on these settings, the model, the
    objective and the data alone, not on where or how the run is watched, interrupted or resumed.

    Args:
        steps: optimiser steps; give these or `epochs`.
        epochs: passes over the data; with replays, each batch of a pass is stepped on so often.
        batch: samples of one optimiser step, over all processes and pieces. An incomplete last
            batch of a pass is left out.
        optimizer: a class of torch.optim with its settings as text, or a callable from parameters
            to an optimizer.
        schedule: a class of torch.optim.lr_scheduler as text, stepped after every optimiser step
            (T_max and total_steps may be left out: the run's steps), or a callable from an
            optimizer to a schedule; None keeps the learning rate. "Piecewise({500: 10, 60000: 1})"
            is ten times the optimizer's learning rate from step 500, and itself from 60000.
        replays: optimiser steps on each batch (free adversarial training, arXiv 1904.12843).
        accumulate: pieces in which each process goes through its share of a batch.
        clip: largest norm of the gradient; None leaves it alone.
        average: decay of an exponential moving average of the weights, which is then what is
            validated and returned; None for none.
        seed: of the order of the data, of random transforms, dropout, and objectives.

    >>> Loop(steps=250, optimizer="SGD(lr=0.1, momentum=0.9)")
    Loop(steps=250, optimizer='SGD(lr=0.1, momentum=0.9)')
    """

    steps: int | None = None
    epochs: float | None = field(default=None, kw_only=True)
    batch: int = field(default=128, kw_only=True)
    optimizer: str | MakeOptimizer = field(default="Adam(lr=0.001)", kw_only=True)
    schedule: str | MakeSchedule | None = field(default=None, kw_only=True)
    replays: int = field(default=1, kw_only=True)
    accumulate: int = field(default=1, kw_only=True)
    clip: float | None = field(default=None, kw_only=True)
    average: float | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def check(self, samples: int, processes: int) -> None:
        """Raise unless every number is in its range and the data are enough for a batch."""
        self.check_kinds(whole=False)
        for name in ("batch", "replays", "accumulate"):
            check_whole(name, getattr(self, name), 1)
        if (self.steps is None) == (self.epochs is None):
            raise SurefootError(
                f"steps={self.steps}, epochs={self.epochs}: expected one of them, "
                "such as steps=250 or epochs=5, and None for the other (in a configuration null)"
            )
        self._check_ranges()
        if samples < self.batch:
            raise SurefootError(
                f"the training data hold {samples} samples, fewer than one batch of {self.batch}; "
                "lower batch, or look at where the data come from"
            )
        if self.batch % (processes * self.accumulate):
            raise SurefootError(
                f"batch={self.batch} cannot be shared equally by {processes} processes in "
                f"{self.accumulate} pieces each; expected a multiple of "
                f"{processes * self.accumulate}"
            )

    def _check_ranges(self) -> None:
        for name in ("epochs", "clip", "average"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        if self.steps is not None:
            check_whole("steps", self.steps, 0)
        check_whole("seed", self.seed, 0)
        length = self.steps if self.steps is not None else self.epochs
        if length is None or not 0 <= length < math.inf:
            raise SurefootError(f"epochs={length}, expected a finite number, at least 0")
        if self.clip is not None and not self.clip > 0:
            raise SurefootError(f"clip={self.clip}, expected a positive number or None")
        if self.average is not None and not 0 <= self.average < 1:
            raise SurefootError(f"average={self.average}, expected a decay in [0, 1) or None")

    def once(self, samples: int) -> int:
        """The steps of one pass over so many samples, at least 1."""
        return max(1, samples // self.batch * self.replays)

    def length(self, samples: int) -> int:
        """How many optimiser steps the run has, on so many samples.

        Raises:
            SurefootError: epochs that come to less than a step.

        >>> Loop(epochs=2, batch=50, replays=3).length(120)
        12
        """
        if self.steps is not None:
            return self.steps
        batches = (self.epochs or 0) * (samples // self.batch)
        if batches > 0 and not round(batches):
            raise SurefootError(
                f"epochs={self.epochs} of {samples} samples in batches of {self.batch} are less "
                "than a step; give steps, or more epochs"
            )
        return round(batches) * self.replays
