"""Putting back what was changed, whatever ends a block: an interrupt at any instruction, too."""

import random
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
import torch

T = TypeVar("T")


class Undo(Generic[T]):
    """A context manager: `do` makes a change and first says, with `then`, how to put it back.

    A generator with try and finally leaves gaps: an interrupt that comes as it yields ends the
    block before it has begun, and one amid the putting back ends that. Here neither does; one in
    the instant before the putting back is made up for as soon as the interrupt has been handled.
    What is given to `then` is called backwards, and once more if an interrupt comes between, so
    it must be harmless to do twice.

    >>> values = [1]
    >>> def change(undo: Undo[None]) -> None:
    ...     undo.then(lambda: values.__setitem__(0, 1))
    ...     values[0] = 2
    >>> with Undo(change):
    ...     values
    [2]
    >>> values
    [1]
    """

    def __init__(self, do: "Callable[[Undo[T]], T]") -> None:
        self._do = do
        self._steps: list[Callable[[], object]] = []
        # Closed when it is dropped, if an interrupt keeps `__exit__` from closing it.
        self._guard = _guard(self._steps)

    def then(self, step: Callable[[], object]) -> None:
        """How to put back what is about to be changed."""
        self._steps.append(step)

    def __enter__(self) -> T:
        next(self._guard)
        try:
            return self._do(self)
        except BaseException:
            self._guard.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guard.close()


def _guard(steps: list[Callable[[], object]]) -> Generator[None, None, None]:
    try:
        try:
            yield
        finally:
            _back(steps)
    finally:
        _back(steps)  # what an interrupt has left


def _back(steps: list[Callable[[], object]]) -> None:
    for step in reversed(steps):
        step()
    steps.clear()


def draws_kept(devices: Sequence[torch.device] = (), seed: int | None = None) -> Undo[None]:
    """Inside, draws are nobody else's: the states of torch, NumPy and `random` come back after.

    Args:
        devices: accelerators whose states are kept, too.
        seed: of all of them inside; None leaves them as they are.
    """

    def do(undo: Undo[None]) -> None:
        # Not manual_seed: what it does to all devices could not be put back.
        default, own, legacy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
        undo.then(lambda: torch.set_rng_state(default))
        undo.then(lambda: random.setstate(own))
        undo.then(lambda: np.random.set_state(legacy))  # noqa: NPY002
        for device in devices:
            state = torch.cuda.get_rng_state(device)
            undo.then(lambda device=device, state=state: torch.cuda.set_rng_state(state, device))  # type: ignore[misc]
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            for device in devices:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)

    return Undo(do)
