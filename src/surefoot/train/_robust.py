"""Adversarial training that other objectives can build on: an attack, and terms of logits."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from surefoot.train._batch import Batch
from surefoot.train._inner import Adversarial


@dataclass(frozen=True, repr=False)
class Robust(Adversarial):
    """An adversarial objective whose terms are functions of the logits at x and at x'."""

    @abstractmethod
    def moved(self, batch: Batch) -> Tensor:
        """The x' of the attack, (N, ...)."""

    @abstractmethod
    def terms(
        self, labels: Tensor, clean: Tensor, moved: Tensor
    ) -> Mapping[str, tuple[float, Tensor]]:
        """The weighted terms of the logits (N, K) at x and at x'."""
