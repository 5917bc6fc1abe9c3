"""What every objective is: a recipe that maps a model and a batch to a loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from surefoot.checks import check_whole
from surefoot.errors import SurefootError
from surefoot.recipes import Recipe
from surefoot.train._batch import Batch, State
from surefoot.train._passes import Passes


@dataclass(frozen=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: scalar, mean over the batch, with a graph to the parameters.
        terms: the parts of it by name, each a scalar mean over the batch, unweighted, detached.
        state: to be passed to the next call; a mapping of tensors, or None where there is none.

    >>> from surefoot.train import Natural
    >>> loss = Natural()(nn.Linear(4, 3), torch.ones(2, 4), torch.tensor([0, 1]))
    >>> list(loss.terms), loss.total.requires_grad
    (['clean'], True)
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    state: State = None


class NonFiniteLossError(SurefootError):
    """A loss, or a term of it, is NaN or infinite.

    Attributes:
        terms: all terms by name, as numbers.

    >>> issubclass(NonFiniteLossError, SurefootError)
    True
    """

    def __init__(self, message: str, terms: Mapping[str, float]) -> None:
        super().__init__(message)
        self.terms = terms


class Parts(NamedTuple):
    """The weighted terms of a loss, with their graph, and the state that is passed on.

    >>> parts = Parts({"clean": (1.0, torch.tensor(2.0)), "penalty": (0.5, torch.tensor(4.0))})
    >>> sum(weight * float(value) for weight, value in parts.terms.values())
    4.0
    """

    terms: Mapping[str, tuple[float, Tensor]]
    state: State = None


@dataclass(frozen=True, repr=False)
class Objective(Recipe, ABC):
    """A training loss: `objective(model, inputs, labels) -> Loss`, for any training loop.

    The fields are settings only: `repr` is the recipe, `dataclasses.replace` makes variants. A
    call is a function of its arguments: weights, training modes, buffers, `.grad` and hooks are as
    before, except that the passes made in the model's own mode update batch-norm statistics, as in
    any training. Attacks inside run in evaluation mode, through `eval_mode`. A subclass is a
    `@dataclass(frozen=True, repr=False)` and writes `evaluate(batch)`.

    Published losses that are sums over the batch are rescaled to means; the docstring of such an
    objective gives the factor. With batch norm in training mode, a sample's attributions depend on
    the rest of the batch, as its logits do.

    >>> from surefoot.train import SCAAT
    >>> isinstance(SCAAT(0.1), Objective), SCAAT(0.1).passes().evaluations  # of the batch, a step
    (True, 8)
    """

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: int | Tensor,
        *,
        extra: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        progress: float = 1.0,
        state: State = None,
    ) -> Loss:
        """The loss of a batch; `loss.total.backward()` is the training step's.

        Under `torch.no_grad()` it is computed all the same, and `total` has no graph.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in training or evaluation mode.
            inputs: floating point, (N, ...); or integer tokens (N, T), if the model is a
                `models.Classifier` that names its `embedding`.
            labels: class indices, (N,).
            extra: further keyword inputs of the model, each with leading dimension N.
            generator: of random draws; None takes torch's default, as dropout does.
            progress: share of the training done, in [0, 1], for settings that grow with it.
            state: `Loss.state` of the previous call; None at the beginning.

        Returns:
            A `Loss`.

        Raises:
            NonFiniteLossError: a term or the total is NaN or infinite; the message names it.
            SurefootError: integers that are no tokens, non-finite inputs, inputs outside the
                bounds, labels that are not classes of the model, a setting out of range.
        """
        self.check()
        batch = Batch.of(model, inputs, labels, extra, generator, progress, state)
        wanted = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            loss = self._loss(self.evaluate(batch))
        return loss if wanted else Loss(loss.total.detach(), loss.terms, loss.state)

    @abstractmethod
    def evaluate(self, batch: Batch) -> Parts:
        """The weighted terms of a checked batch, each a scalar mean with its graph."""

    @abstractmethod
    def passes(self) -> Passes:
        """What one step costs, counted in passes of the batch through the model."""

    def grows(self) -> bool:
        """Whether a term goes by the share of the training done."""
        return False

    def own_extra(self) -> frozenset[str]:
        """Names of the entries of `extra` that are this objective's and do not reach the model."""
        return frozenset()

    def check(self) -> None:
        """Raise where a setting is none of its choices, no whole number, or a weight below 0."""
        self.check_kinds(whole=False)
        for name, choices in _choices(type(self)).items():
            if getattr(self, name) not in choices:
                raise SurefootError(
                    f"{name}={getattr(self, name)!r}, choose one of {list(choices)}"
                )
        for name in _whole(type(self)):
            check_whole(name, getattr(self, name), 0)
        for name, value in self.settings().items():
            if "weight" in name and not (value is None or is_weight(value)):
                raise SurefootError(f"{name}={value!r}, expected a finite number >= 0")

    def _loss(self, parts: Parts) -> Loss:
        terms = {name: value.detach() for name, (_, value) in parts.terms.items()}
        weighted = [weight * value for weight, value in parts.terms.values()]
        total = weighted[0]
        for part in weighted[1:]:
            total = total + part.to(total)
        self._check_finite(terms, total.detach())
        return Loss(total, terms, parts.state)

    def _check_finite(self, terms: Mapping[str, Tensor], total: Tensor) -> None:
        # The total, too: finite terms may overflow with their weights, or in their sum.
        known = torch.stack([value.float() for value in (*terms.values(), total)])
        if torch.isfinite(known).all():
            return
        values = {name: float(value) for name, value in terms.items()}
        parts = [f"{name}={value:.4g}" for name, value in values.items()]
        shown = ", ".join([*parts, f"total={float(total):.4g}"])
        raise NonFiniteLossError(
            f"the loss of {self!r} is not finite: {shown}; the weights may have diverged (lower "
            "the learning rate, clip gradients) or a half-precision value overflowed",
            values,
        )


@cache
def _choices(kind: type[Objective]) -> dict[str, tuple[object, ...]]:
    hints = get_type_hints(kind).items()
    return {name: get_args(hint) for name, hint in hints if get_origin(hint) is Literal}


@cache
def _whole(kind: type[Objective]) -> tuple[str, ...]:
    return tuple(name for name, hint in get_type_hints(kind).items() if hint is int)


def is_weight(value: object) -> bool:
    """Whether a setting is a finite number >= 0."""
    return isinstance(value, int | float) and 0 <= value < math.inf
