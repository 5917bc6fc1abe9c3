"""Optimizers and learning-rate schedules by name, as `SGD(lr=0.1, momentum=0.9)`."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from surefoot.errors import SurefootError
from surefoot.recipes import Reader, check_settings

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler]

_REFUSED_OPTIMIZERS = {
    "LBFGS": "LBFGS evaluates a batch several times a step, which this loop does not do; take SGD "
    "or Adam",
    "SparseAdam": "SparseAdam needs sparse gradients, which no objective has; take Adam",
}
_REFUSED_SCHEDULES = {
    "ReduceLROnPlateau": "ReduceLROnPlateau goes by a figure that is not there at every step; take "
    "a schedule by steps, such as CosineAnnealingLR",
}
# What a schedule wants to know of the run's length, filled in where it is left out.
_LENGTHS = ("T_max", "total_steps")


class Piecewise(LambdaLR):
    """The optimizer's learning rate times a factor that changes at given steps.

    Args:
        optimizer: whose learning rate is scheduled.
        factors: the factor from each step on; before the first it is 1.

    >>> made = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    >>> schedule = Piecewise(made, {1: 10, 2: 0.1})
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += schedule.get_last_lr()
    ...     made.step(), schedule.step()
    (None, None)
    (None, None)
    (None, None)
    >>> rates
    [0.5, 5.0, 0.05]
    """

    def __init__(self, optimizer: Optimizer, factors: Mapping[int, float]) -> None:
        if not isinstance(factors, Mapping) or not all(isinstance(key, int) for key in factors):
            raise SurefootError(f"factors={factors!r}, expected {{step: factor}}")
        self.factors = dict(factors)
        super().__init__(optimizer, self.factor)

    def factor(self, step: int) -> float:
        """The factor at a step."""
        past = [begin for begin in self.factors if begin <= step]
        return self.factors[max(past)] if past else 1.0


def make_optimizer(given: str | MakeOptimizer, model: nn.Module) -> Optimizer:
    """The optimizer of the model's parameters that require a gradient.

    Raises:
        SurefootError: an unknown name or setting, or nothing to train.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise SurefootError("no parameter of the model requires a gradient: nothing to train")
    make = _reader("optimizer").read(given) if isinstance(given, str) else given
    made: Optimizer = _made(make, parameters, given, Optimizer)
    return made


def make_schedule(
    given: str | MakeSchedule | None, optimizer: Optimizer, steps: int
) -> LRScheduler | None:
    """The schedule of the optimizer, for a run of so many steps.

    Raises:
        SurefootError: an unknown name or setting.
    """
    if given is None:
        return None
    make = _reader("schedule", steps).read(given) if isinstance(given, str) else given
    made: LRScheduler = _made(make, optimizer, given, LRScheduler)
    return made


def fits_a_length(schedule: LRScheduler) -> bool:
    """Whether a schedule, or one inside it, is made for a number of steps."""
    own = any(name in vars(schedule) for name in _LENGTHS)
    return own or any(map(fits_a_length, vars(schedule).get("_schedulers", ())))


def _made(make: Any, first: Any, given: object, wanted: type) -> Any:
    """`make(first)` and, before it, what is nested in its settings."""
    try:
        if isinstance(make, partial):
            settings = {name: _nested(value, first) for name, value in make.keywords.items()}
            made = make.func(first, *make.args, **settings)
        else:
            made = make(first)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SurefootError(f"{given!r} cannot be made: {error}") from error
    if not isinstance(made, wanted):
        raise SurefootError(f"{given!r} gave a {type(made).__name__}, expected {wanted.__name__}")
    return made


def _nested(value: Any, first: Any) -> Any:
    if isinstance(value, list):
        return [_nested(item, first) for item in value]
    return _made(value, first, value.func, LRScheduler) if isinstance(value, partial) else value


def _reader(what: str, steps: int | None = None) -> Reader:
    def later(kind: Callable[..., Any], args: list[Any], settings: dict[str, Any]) -> Any:
        names = list(inspect.signature(kind).parameters)
        first = dict(zip(names[1:], args, strict=False))
        if steps is not None and "epochs" not in settings:
            unsaid = [name for name in _LENGTHS if name in names and name not in first]
            settings = dict.fromkeys(unsaid, steps) | settings
        check_settings(kind, [None, *args], settings)
        return partial(kind, **first, **settings)

    if what == "optimizer":
        known = _classes(torch.optim, Optimizer, _REFUSED_OPTIMIZERS)
        return Reader(what, known, "SGD(lr=0.1, momentum=0.9)", _REFUSED_OPTIMIZERS, later)
    known = _classes(lr_scheduler, LRScheduler, _REFUSED_SCHEDULES) | {"Piecewise": Piecewise}
    return Reader(what, known, "MultiStepLR(milestones=[100, 200])", _REFUSED_SCHEDULES, later)


def _classes(module: ModuleType, base: type, refused: Iterable[str]) -> dict[str, type]:
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, base)
        and kind is not base
        and name not in refused
        and not name.startswith("_")
        and next(iter(list(inspect.signature(kind).parameters)), "") in ("params", "optimizer")
    }
