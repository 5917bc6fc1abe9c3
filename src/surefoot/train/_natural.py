"""Natural training: the cross-entropy of clean inputs."""

from dataclasses import dataclass

from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class Natural(Objective):
    """min CE(f(x), y), the mean over the batch.

    Terms: `clean`.

    >>> import torch
    >>> net = torch.nn.Linear(2, 4)
    >>> for weight in net.parameters():
    ...     _ = torch.nn.init.zeros_(weight)
    >>> Natural()(net, torch.rand(3, 2), torch.tensor([0, 1, 2])).terms
    {'clean': tensor(1.3863)}
    """

    def evaluate(self, batch: Batch) -> Parts:
        return Parts({"clean": (1.0, cross_entropy(batch.logits(batch.inputs), batch.labels))})

    def passes(self) -> Passes:
        return Passes(parameters=1)
