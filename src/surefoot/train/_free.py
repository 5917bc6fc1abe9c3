"""Free adversarial training (Shafahi et al., arXiv 1904.12843), after its released code."""

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from surefoot.budget import Budget
from surefoot.errors import SurefootError
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._inner import Ball, around
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class FreeAT(Ball):
    """min CE(f(x + d), y) with d moved by the backward pass that also moves the weights.

    d <- clip(d + step sign grad_d CE, epsilon), one noise for each place in the batch, kept from
    batch to batch. It is in `Loss.state["noise"]`, which is to be passed to the next call and is
    updated while `loss.total.backward()` runs; nothing costs extra. Each batch should be repeated m
    times with the epochs divided by m (4 for ImageNet in the released code, 8 for CIFAR-10
    elsewhere); that is the loop's to do. With epsilon 0 it is `Natural`. Terms: `adversarial`.

    Args:
        epsilon: radius in input units (4/255, the released ImageNet recipe's).
        step_size: None is epsilon, as released.
        norm: "linf" only.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = FreeAT(0.1)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['adversarial']
    """

    epsilon: float = 4 / 255
    step_size: float | None = field(default=None, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        box = around(batch, self.budget())
        noise = self._noise(batch)
        d = noise[: len(batch.inputs)].clone().requires_grad_(True)
        d.register_hook(partial(self._move, noise))  # type: ignore[no-untyped-call]
        logits = batch.logits(box.clip(batch.inputs + d))
        terms = {"adversarial": (1.0, cross_entropy(logits, batch.labels))}
        return Parts(terms, {"noise": noise})

    def budget(self) -> Budget:
        size = self.epsilon if self.step_size is None else self.step_size
        return replace(super().budget(), step_size=size)

    def _move(self, noise: Tensor, gradient: Tensor) -> None:
        some = noise[: len(gradient)]
        with torch.no_grad():
            some.add_(self.budget().length(0) * gradient.sign()).clamp_(-self.epsilon, self.epsilon)

    def _noise(self, batch: Batch) -> Tensor:
        """A copy of the state's noise, with zeros for places that it has not seen."""
        x = batch.inputs
        if batch.state is None:
            return torch.zeros_like(x)
        old = batch.state["noise"].to(x)
        if old.shape[1:] != x.shape[1:]:
            raise SurefootError(
                f"state has noise for inputs {tuple(old.shape[1:])}, but they are "
                f"{tuple(x.shape[1:])}; start with state=None"
            )
        return torch.cat([old, torch.zeros_like(x[len(old) :])])

    def passes(self) -> Passes:
        return Passes(parameters=1)

    def check(self) -> None:
        super().check()
        if self.norm != "linf":
            raise SurefootError(f"norm={self.norm!r}: free adversarial training is for 'linf'")
