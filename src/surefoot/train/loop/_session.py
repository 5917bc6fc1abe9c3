"""A run from its first step, or the one it resumes at, to the last: steps, figures, checkpoints."""

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from surefoot.checks import check_whole
from surefoot.errors import SurefootError, SurefootWarning, suggest
from surefoot.files import make_folder, write_whole
from surefoot.models import save_weights
from surefoot.recipes import show
from surefoot.train._base import NonFiniteLossError
from surefoot.train.loop import _checkpoint
from surefoot.train.loop._batches import Batches, loader
from surefoot.train.loop._logs import Bar, Log, Logs, Progress
from surefoot.train.loop._run import Run, agree
from surefoot.train.loop._trained import Trained
from surefoot.train.loop._validation import Validation, mean, together
from surefoot.train.loop._wrapped import for_scoring, precision_name, scalars
from surefoot.version import versions


@dataclass(frozen=True)
class Watch:
    """How a run is watched and where it is written."""

    held_out: Any
    validation: Validation
    validate_every: int
    checkpoint_every: int
    log_every: int
    best_by: str | None
    out: Path | None
    resume: bool
    logs: tuple[Log, ...]
    progress: Progress
    workers: int

    def check(self) -> None:
        """Raise for numbers out of range, and for a figure to go by that there will not be."""
        for name in ("validate_every", "checkpoint_every", "log_every"):
            check_whole(name, getattr(self, name), 1)
        check_whole("workers", self.workers, 0)
        if self.resume and self.out is None:
            raise SurefootError(
                "resume=True without out=; pass the folder of the run to go on with"
            )
        self.validation.check()
        if self.held_out is not None and type(self.validation).scores is Validation.scores:
            self.check_figure(self.validation.names())

    def check_figure(self, names: Collection[str]) -> None:
        """Raise unless the best checkpoint goes by one of the figures that there are."""
        if self.best_by is not None and self.best_by not in names:
            raise SurefootError(
                f"best_by={self.best_by!r} is none of the validation's figures; "
                f"{suggest(self.best_by, names)}"
            )

    @property
    def checkpoints(self) -> Path | None:
        """Their folder."""
        return None if self.out is None else self.out / "checkpoints"


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

    def train(self) -> Trained:
        """Do the steps that are left."""
        run, fabric = self.run, self.run.fabric
        start = self._resumed()
        if self.watch.out is not None and fabric.is_global_zero:
            make_folder(self.watch.out)
            self.written = Logs(self.watch.out, self.watch.logs, start)
        shown: Progress = self.watch.progress if fabric.is_global_zero else False
        bar = Bar(shown, type(run.objective).__name__, start, run.steps)
        batches = Batches(self.data, run.loop, fabric.global_rank, fabric.world_size)
        began, measured = perf_counter(), 0.0
        try:
            given = loader(batches, start, run.steps, self.watch.workers)
            for step, batch in enumerate(given, start):
                seen = self._step(fabric.to_device(batch), step)
                bar.show(step + 1, seen)
                pause = perf_counter()
                self._look(step + 1)
                measured += perf_counter() - pause
        finally:
            bar.close()
            if self.written is not None:
                self.written.close()
        spent = perf_counter() - began - measured
        seconds = spent / (run.steps - start) if run.steps > start else math.nan
        return self._finish(seconds)

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
        for name, value in self.run.result.named_parameters():
            if not torch.isfinite(value).all():
                raise NonFiniteLossError(
                    f"stopped after step {done}: the weights {name} are not finite although the "
                    "loss was; lower the learning rate or clip gradients. "
                    f"{self._last_good(done)}",
                    self.terms,
                )

    def _checkpoints(self) -> list[_checkpoint.Checkpoint]:
        root = self.watch.checkpoints
        return [] if root is None else _checkpoint.checkpoints(root)

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
        with torch.random.fork_rng(devices):
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
        there = self._checkpoints()
        if there and not self.watch.resume:
            raise SurefootError(
                f"{self.watch.out} holds checkpoints of an earlier run, up to step "
                f"{there[-1].step}; pass resume=True to go on from there, or another folder"
            )
        last = _checkpoint.last_checkpoint(there)
        if last is None:
            return 0
        _checkpoint.compare(last, self._settings())
        if last.versions != versions("torch"):
            warnings.warn(
                f"{last.folder} was made with {last.versions}, this is {versions('torch')}: "
                "the weights may not be the same to the bit",
                SurefootWarning,
                stacklevel=5,
            )
        self._load(last)
        return last.step

    def _load(self, last: _checkpoint.Checkpoint) -> None:
        run = self.run
        last.load(run.model)
        if run.average is not None:
            last.load(run.average.module, _checkpoint.AVERAGE)
        state = last.state()
        run.load_shared_state(state["shared"])
        run.load_state(state["processes"][run.fabric.global_rank])
        self.figures = last.figures

    def _finish(self, seconds: float) -> Trained:
        run, watch = self.run, self.watch
        self._prove()
        if run.average is not None:
            run.model.load_state_dict(run.average.module.state_dict())
        run.model.eval()
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
