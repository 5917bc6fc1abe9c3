"""One call of an objective, checked: the batch and all that its terms are computed from."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.errors import SurefootError
from surefoot.gradients import Query
from surefoot.maps import Layout, layout_of
from surefoot.train._tokens import embedded

State = Mapping[str, Tensor] | None
T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """The model, in whatever mode, the batch, and where randomness comes from.

    Attributes:
        model: module from inputs (N, ...) to logits (N, K).
        inputs: (N, ...), detached; of tokens the embeddings (N, T, D), with a graph to what embeds
            them, so that the terms of a loss train it.
        labels: (N,).
        extra: further keyword inputs of the model, leading dimension N.
        generator: of random draws; None is torch's default.
        progress: share of the training done, in [0, 1].
        state: what the previous call returned.
        tokens: whether the inputs are embeddings of tokens.

    >>> net = nn.Linear(4, 3)
    >>> batch = Batch.of(net, torch.ones(2, 4), torch.tensor([0, 1]), None, None, 1.0, None)
    >>> batch.logits(batch.inputs).shape, batch.layout
    (torch.Size([2, 3]), 'record')
    """

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    extra: Mapping[str, Tensor]
    generator: torch.Generator | None = None
    progress: float = 1.0
    state: State = None
    tokens: bool = False

    @classmethod
    def of(
        cls,
        model: nn.Module,
        inputs: Tensor,
        labels: int | Tensor,
        extra: Mapping[str, Tensor] | None,
        generator: torch.Generator | None,
        progress: float,
        state: State,
    ) -> "Batch":
        """Check what was given."""
        if not isinstance(model, nn.Module):
            raise SurefootError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
        with torch.inference_mode(False), torch.enable_grad():
            points = _points(model, inputs)
        if not 0 <= progress <= 1:
            raise SurefootError(
                f"progress={progress!r}, expected the share of the training done, in [0, 1]"
            )
        with torch.inference_mode(False):
            ordinary = gradients.ordinary
            told = gradients.companions(model, [points])
            given = {**told, **checks.check_extra(extra, len(inputs))}
            further = {name: ordinary(value) for name, value in given.items()}
            labels = ordinary(checks.check_target(labels, inputs, "labels"))
        tokens = not inputs.is_floating_point()
        return cls(model, points, labels, further, generator, progress, state, tokens)

    @property
    def layout(self) -> Layout:
        """What the axes of the inputs mean."""
        return layout_of(self.inputs, self.model)

    def logits(self, inputs: Tensor) -> Tensor:
        """The model's logits (N, K) at `inputs`, after checking the labels against them."""
        logits = gradients.single(gradients.forward(self.model, inputs, self.extra))
        gradients.warn_of_softmax(logits)
        checks.check_target_range(self.labels, logits, "labels")
        return logits

    def request(self, inputs: Tensor, *, create_graph: bool = False) -> Query:
        """What `surefoot.gradients` takes, for the labels' classes at `inputs` (N, ...)."""
        return Query(self.model, inputs, self.labels, self.extra, create_graph)

    def uniform(self) -> Tensor:
        """Uniform draws in [0, 1), one for each entry of the inputs."""
        return self._draw(torch.rand)

    def normal(self, like: Tensor | None = None) -> Tensor:
        """Standard normal draws, one for each entry of the inputs, or of `like`."""
        return self._draw(torch.randn, like)

    def _draw(self, sample: Callable[..., Tensor], like: Tensor | None = None) -> Tensor:
        like = self.inputs if like is None else like
        # On the generator's own device, so that one of the CPU gives the same draws anywhere.
        device = like.device if self.generator is None else self.generator.device
        drawn = sample(like.shape, generator=self.generator, device=device, dtype=like.dtype)
        return drawn.to(like.device)


def _points(model: nn.Module, inputs: Tensor) -> Tensor:
    """The checked inputs, detached, or the embeddings of tokens."""
    if isinstance(inputs, Tensor):
        plain = gradients.ordinary(inputs.detach())
        inputs = embedded(model, plain)
    checks.check_inputs(inputs)
    return inputs


def dropped(extra: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    """The entries of other names."""
    return {name: value for name, value in extra.items() if name not in names}
