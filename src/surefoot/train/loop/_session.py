"""A run from its first step, or the one it resumes at, to the last: steps, figures, checkpoints."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import nn

from surefoot.errors import SurefootError
from surefoot.files import claim, write_whole
from surefoot.models import save_weights
from surefoot.recipes import show
from surefoot.train._base import NonFiniteLossError
from surefoot.train._mode import flags_of
from surefoot.train.loop import _checkpoint
from surefoot.train.loop._batches import Batches, given
from surefoot.train.loop._fetch import Minibatch
from surefoot.train.loop._logs import Bar, Logs, Progress
from surefoot.train.loop._patience import Patience
from surefoot.train.loop._resume import resumed
from surefoot.train.loop._run import Run, agree
from surefoot.train.loop._trained import Trained
from surefoot.train.loop._validation import mean, together
from surefoot.train.loop._watch import Watch
from surefoot.train.loop._wrapped import for_scoring, precision_name, scalars
from surefoot.undo import Undo, draws_kept


@dataclass
class Session:
    """A run with its data, from its first step, or the one it resumes at, to the last."""

    run: Run
    watch: Watch
    data: Any
    bound: Mapping[str, Any]
    figures: Mapping[str, float] = field(default_factory=dict)
    terms: Mapping[str, float] = field(default_factory=dict)
    written: Logs | None = None
    proven: bool = False
    done: int = 0
    looked: int = 0
    saved: int = 0
    finished: bool = False

    def train(self) -> Trained:
        """Do the steps that are left."""
        with self._claimed(), Undo(self._modes):
            self.done = self._resumed()
            if self.watch.out is not None and self.run.fabric.is_global_zero:
                self.written = Logs(self.watch.out, self.watch.logs, self.done)
            return self._finish(self._steps())

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """The folder is this run's alone, or none of its processes begins."""
        with ExitStack() as stack:
            failure = None
            try:
                if self.watch.out is not None and self.run.fabric.is_global_zero:
                    stack.enter_context(claim(self.watch.out))
            except SurefootError as error:
                failure = error
            agree(self.run.fabric, failure)
            yield

    def _modes(self, undo: Undo[None]) -> None:
        """Unless the run comes to its end, the model gets its modes back."""
        restore = flags_of(self.run.model)
        undo.then(lambda: None if self.finished else restore())

    def _steps(self) -> float:
        """All steps; the seconds that one took, without what was measured and written."""
        run, fabric = self.run, self.run.fabric
        shown: Progress = self.watch.progress if fabric.is_global_zero else False
        bar = Bar(shown, type(run.objective).__name__, self.done, run.steps)
        batches = Batches(self.data, run.loop, fabric.global_rank, fabric.world_size)
        start, began, measured = self.done, perf_counter(), 0.0
        left = given(batches, start, run.steps, self.watch.workers)
        patience = Patience()
        try:
            with patience.held(fabric.world_size == 1):
                while self.done < run.steps:
                    batch = fabric.to_device(self._next(left))
                    with patience:
                        seen = self._step(batch, self.done)
                        self.done += 1
                    bar.show(self.done, seen)
                    pause = perf_counter()
                    with patience:
                        self._look(self.done)
                        self.looked = self.done
                    measured += perf_counter() - pause
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self._kept(whole=not patience.broken)) from error
        finally:
            bar.close()
            if self.written is not None:
                self.written.close()
        spent = perf_counter() - began - measured
        return spent / (run.steps - start) if run.steps > start else math.nan

    def _next(self, left: Iterator[Minibatch]) -> Minibatch:
        try:
            return next(left)
        except SurefootError as error:
            raise SurefootError(f"{error}. {self._kept(whole=True)}") from error

    def _kept(self, whole: bool) -> str:
        """Write what would be lost, if it is whole, and tell where the run can go on."""
        stopped = f"stopped after step {self.done} of {self.run.steps}"
        if self.watch.out is None:
            return f"{stopped}; nothing is written without out=, the model has what it learnt"
        if whole and self.run.fabric.world_size == 1:
            if self.looked < self.done:
                self._look(self.done)
            if self.saved < self.done:
                self._save(self.done, {})
        last = _checkpoint.last_checkpoint(self._checkpoints())
        if last is None:
            return f"{stopped}; there is no checkpoint yet"
        return f"{stopped}; resume=True goes on after step {last.step}"

    def _step(self, batch: Any, step: int) -> Mapping[str, float]:
        try:
            terms = self.run.step(batch, step)
        except NonFiniteLossError as error:
            good = self._last_good(step)
            raise NonFiniteLossError(
                f"stopped at step {step}: {error}. {good}", error.terms
            ) from error
        self._prove()
        if (step + 1) % self.watch.log_every and step + 1 < self.run.steps:
            return {}
        self.terms = scalars(terms, self.run.fabric)
        rate = self.run.optimizer.param_groups[0]["lr"]
        self._log(step + 1, {**self.terms, "learning_rate": float(rate)})
        return self.terms

    def _last_good(self, step: int) -> str:
        """Which checkpoint to go on from; one whose weights gave the failure is not good."""
        there = self._checkpoints()
        if not there:
            return "There is no checkpoint yet"
        if there[-1].step == step:
            _checkpoint.suspect(there[-1])
        good = _checkpoint.last_checkpoint(there)
        if good is None:
            return f"There is no good checkpoint: the weights of {there[-1].folder} gave this"
        return f"The last good checkpoint is {good.folder}"

    def _prove(self) -> None:
        """A step was finite, so the checkpoint before the last is needed no more."""
        if self.proven or self.watch.checkpoints is None:
            return
        self.proven = True
        if self.run.fabric.is_global_zero:
            _checkpoint.prune(self.watch.checkpoints, self.watch.best_by)

    def _check_weights(self, done: int) -> None:
        """Raise unless the weights are finite: nobody could use them or go on from them."""
        name = self.run.diverged()
        if name is not None:
            raise NonFiniteLossError(
                f"stopped after step {done}: the weights {name} are not finite although the loss "
                f"was; lower the learning rate or clip gradients. {self._last_good(done)}",
                self.terms,
            )

    def _checkpoints(self) -> list[_checkpoint.Checkpoint]:
        root = self.watch.checkpoints
        return [] if root is None else _checkpoint.survey(root)[0]

    def _log(self, step: int, figures: Mapping[str, float]) -> None:
        failure = None
        try:
            if self.written is not None:
                self.written.write(step, figures)
            self.run.fabric.log_dict(figures, step)
        except SurefootError as error:
            failure = error
        agree(self.run.fabric, failure)

    def _look(self, done: int) -> None:
        """Validate and write a checkpoint after so many steps, if it is time."""
        watch, last = self.watch, done == self.run.steps
        valid = watch.held_out is not None and (last or done % watch.validate_every == 0)
        saved = watch.out is not None and (valid or last or done % watch.checkpoint_every == 0)
        if valid or saved or last:
            self._check_weights(done)
        if valid:
            self.figures = self._validate()
            watch.check_figure(self.figures)
            self._log(done, self.figures)
        if saved:
            self._save(done, self.figures if valid else {})

    def _validate(self) -> dict[str, float]:
        fabric = self.run.fabric
        rank, processes = fabric.global_rank, fabric.world_size
        scores, failure = {}, None
        try:
            scores = self._scores(rank, processes)
        except SurefootError as error:
            failure = error
        agree(fabric, failure)
        if processes == 1:
            return mean(scores)
        parts = [fabric.broadcast(scores, src=source) for source in range(processes)]
        return mean(together(parts))

    def _scores(self, rank: int, processes: int) -> dict[str, torch.Tensor]:
        """This process's share of the validation; no draws of it are the training's."""
        run = self.run
        devices = [run.fabric.device] if run.fabric.device.type == "cuda" else []
        model = for_scoring(run.result, run.fabric)
        with draws_kept(devices):
            return self.watch.validation.scores(model, self.watch.held_out, rank, processes)

    def _save(self, done: int, figures: Mapping[str, float]) -> None:
        run, fabric = self.run, self.run.fabric
        processes = [
            fabric.broadcast(run.state(), src=source) if fabric.world_size > 1 else run.state()
            for source in range(fabric.world_size)
        ]
        failure = None
        if fabric.is_global_zero and self.watch.checkpoints is not None:
            weights: dict[str, nn.Module] = {_checkpoint.MODEL_FILE: run.model}
            if run.average is not None:
                weights[_checkpoint.AVERAGE] = run.average.module
            state = {"shared": run.shared_state(), "processes": processes}
            record = {"figures": dict(figures), "settings": self._settings()}
            try:
                _checkpoint.write(self.watch.checkpoints, done, weights, state, record)
                _checkpoint.prune(self.watch.checkpoints, self.watch.best_by, count=2)
            except SurefootError as error:
                failure = error
        self.proven = False
        agree(fabric, failure)
        self.saved = done

    def _settings(self) -> dict[str, Any]:
        """What a checkpoint is bound to."""
        run = self.run
        return {
            "objective": repr(run.objective),
            **{name: _plain(value) for name, value in run.loop.settings().items()},
            **self.bound,
            "processes": run.fabric.world_size,
            "precision": precision_name(run.fabric),
        }

    def _resumed(self) -> int:
        """The step to begin with, after loading the last checkpoint if that is wanted."""
        root = self.watch.checkpoints
        if root is None:
            return 0
        if not self.watch.resume:
            there, damaged = _checkpoint.survey(root)
            if there or damaged:
                newest = max(one.name for one in (*damaged, *(whole.folder for whole in there)))
                raise SurefootError(
                    f"{self.watch.out} holds checkpoints of an earlier run, up to step "
                    f"{int(newest[5:])}; pass resume=True to go on from there, "
                    "or another folder"
                )
            return 0
        last = resumed(self.run, root, self._settings(), self.watch.resume == "longer")
        if last is None:
            return 0
        self.figures = last.figures
        self.looked = self.saved = last.step
        return last.step

    def _finish(self, seconds: float) -> Trained:
        run, watch = self.run, self.watch
        self._prove()
        if run.average is not None:
            run.model.load_state_dict(run.average.module.state_dict())
        run.model.eval()
        self.finished = True
        failure = None
        if watch.out is not None and run.fabric.is_global_zero:
            try:
                content = save_weights(run.model)
                write_whole(watch.out / _checkpoint.MODEL_FILE, content)
            except SurefootError as error:
                failure = error
        agree(run.fabric, failure)
        highest = _checkpoint.best(self._checkpoints(), watch.best_by)
        return Trained(
            model=run.model,
            steps=run.steps,
            terms=self.terms,
            figures=self.figures,
            folder=watch.out,
            best=None if highest is None else highest.weights,
            seconds=seconds,
        )


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else show(value)
