"""One training run: what changes from step to step, and the step itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from surefoot.copies import copied
from surefoot.errors import SurefootError
from surefoot.train._base import Loss, NonFiniteLossError, Objective
from surefoot.train._batch import State
from surefoot.train._mode import kept_in_evaluation
from surefoot.train.loop._checkpoint import AVERAGE, STATE, Checkpoint
from surefoot.train.loop._fetch import Minibatch
from surefoot.train.loop._optimizers import make_optimizer, make_schedule
from surefoot.train.loop._plan import Loop
from surefoot.train.loop._seeds import Stream, stream
from surefoot.train.loop._wrapped import Step, in_precision, precision_name, reduced, scalars

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Run:
    """Model, optimizer, schedule, average, generator and the objective's state."""

    def __init__(
        self, fabric: "Fabric", model: nn.Module, objective: Objective, loop: Loop, steps: int
    ) -> None:
        self.fabric, self.objective, self.loop, self.steps = fabric, objective, loop, steps
        self.frozen = kept_in_evaluation(model)
        self.infinite = {name for name, value in _numbers(model) if not torch.isfinite(value).all()}
        optimizer = make_optimizer(loop.optimizer, model)
        self.schedule = make_schedule(loop.schedule, optimizer, steps)
        self.step_module, self.optimizer = fabric.setup(Step(model), optimizer)
        self.model = model
        self.seen = in_precision(model, fabric)
        self.average = None if loop.average is None else _averaged(model, loop.average)
        self.generator = stream(loop.seed, Stream.OBJECTIVE, fabric.global_rank)
        self.states: list[State] = [None] * loop.accumulate

    @property
    def result(self) -> nn.Module:
        """The module whose weights are validated and returned."""
        return self.model if self.average is None else self.average.module

    def step(self, batch: Minibatch, number: int) -> dict[str, Tensor]:
        """One optimiser step; the terms of the loss, means over this process's share.

        Raises:
            NonFiniteLossError: a term of the loss or the gradient is NaN or infinite; the weights
                are as before.
            SurefootError: the batch cannot be used, here or in another process.
        """
        self._to_training()
        self.optimizer.zero_grad()
        terms: dict[str, Tensor] = {}
        pieces = batch.pieces(self.loop.accumulate)
        for place, piece in enumerate(pieces):
            loss = self._backward(piece, place, number)
            for name, value in loss.terms.items():
                terms[name] = terms.get(name, torch.zeros_like(value)) + value / len(pieces)
        self._check_gradient(terms)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self._share_statistics()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return terms

    def diverged(self) -> str | None:
        """The first weights or statistics that are not finite, but those that never were."""
        for name, value in _numbers(self.result):
            if name not in self.infinite and not torch.isfinite(value).all():
                return name
        return None

    def _to_training(self) -> None:
        self.model.train()
        for module in self.frozen:
            module.training = False

    def _share_statistics(self) -> None:
        """Give all processes the mean of their running statistics, such as batch norm's."""
        buffers = [b for b in self.model.buffers() if b.is_floating_point()]
        if self.fabric.world_size == 1 or not buffers:
            return
        joined = torch.cat([buffer.flatten() for buffer in buffers])
        sizes = [buffer.numel() for buffer in buffers]
        parts = torch.split(reduced(joined, self.fabric, "mean"), sizes)
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.copy_(part.view_as(buffer))

    def _backward(self, piece: Minibatch, place: int, number: int) -> Loss:
        """The loss of a piece, its gradient added to what there is."""
        waits = self.fabric.world_size > 1 and place < self.loop.accumulate - 1
        with self.fabric.no_backward_sync(self.step_module, enabled=waits):
            loss, failure = self._loss(piece, place, number)
            agree(self.fabric, failure)
            if loss is None:  # for the type checker: agree has raised
                raise SurefootError("no loss")
            self.fabric.backward(loss.total / self.loop.accumulate)
        self.states[place] = loss.state
        return loss

    def _loss(
        self, piece: Minibatch, place: int, number: int
    ) -> tuple[Loss | None, Exception | None]:
        losses: list[Loss] = []

        def compute() -> Tensor:
            loss = self.objective(
                self.seen,
                piece.inputs,
                piece.labels,
                extra=piece.extra or None,
                generator=self.generator,
                progress=number / self.steps,
                state=self.states[place],
            )
            losses.append(loss)
            return loss.total

        try:
            total = self.step_module(compute)
        except Exception as error:
            return None, error
        return Loss(total, losses[0].terms, losses[0].state), None

    def _check_gradient(self, terms: dict[str, Tensor]) -> None:
        """Clip the gradient; raise where it is not finite, unless a scaler deals with that."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.loop.clip is not None:
            norm = self.fabric.clip_gradients(
                self.step_module, self.optimizer, max_norm=self.loop.clip, error_if_nonfinite=False
            )
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if precision_name(self.fabric) == "16-mixed" or norm is None or torch.isfinite(norm):
            return
        values = scalars(terms, self.fabric)
        shown = ", ".join(f"{name}={value:.4g}" for name, value in values.items())
        raise NonFiniteLossError(
            f"the gradient of {self.objective!r} is not finite although its terms are ({shown}); "
            "clip gradients, lower the learning rate, or look for sqrt(0) or log(0)",
            values,
        )

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs besides the weights, of this process."""
        return {
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "device": _device_state(self.fabric.device),
            "objective": [None if state is None else dict(state) for state in self.states],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        if state["device"] is not None:
            torch.cuda.set_rng_state(state["device"], self.fabric.device)
        self.states = self.fabric.to_device(state["objective"])

    def load(self, checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        """Go on from a checkpoint and the content of its state.pt."""
        checkpoint.load(self.model)
        if self.average is not None:
            checkpoint.load(self.average.module, AVERAGE)
        try:
            self.load_shared_state(state["shared"])
            self.load_state(state["processes"][self.fabric.global_rank])
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise SurefootError(
                f"{checkpoint.folder / STATE} is of another run: {type(error).__name__}: {error}"
            ) from error

    def shared_state(self) -> dict[str, Any]:
        """What is the same in all processes."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "averaged": None if self.average is None else int(self.average.n_averaged),
        }

    def load_shared_state(self, state: dict[str, Any]) -> None:
        """Go on from what `shared_state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.average is not None:
            self.average.n_averaged.fill_(state["averaged"])


def agree(fabric: "Fabric", failure: Exception | None) -> None:
    """Raise in every process if one has failed; else they would wait for it for ever."""
    failures = reduced(torch.tensor(float(failure is not None)), fabric, "sum")
    if failure is not None:
        raise failure
    if failures > 0:
        raise SurefootError("another process has stopped; its message says why")


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    mean = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(copied(model), multi_avg_fn=mean)


def _numbers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers that could be infinite, by name."""
    named = (*model.named_parameters(), *model.named_buffers())
    return ((name, value.detach()) for name, value in named if value.is_floating_point())


def _device_state(device: torch.device) -> Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None
