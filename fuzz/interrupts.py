"""An interrupt at any instruction: models, hooks, flags and random states are as they were."""

import random
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import torch

from fuzz._outcome import Tally
from fuzz.threads import Attentive, called, equal, state, works


class Interrupting:
    """Counts the instructions of the library that a call takes, and interrupts at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.count = at, 0

    def __call__(self, call: Callable[[], Any]) -> bool:
        """Whether the call was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._frame)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    def _frame(self, frame: FrameType, _event: str, _: object) -> Any:
        if "/surefoot/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._instruction

    def _instruction(self, _frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._instruction


def run(number: int, seed: int = 0) -> Tally:
    """So many interrupts, of each kind of call in its turn."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attentive().eval()
    calls = works(model)
    right = {name: call() for name, call in calls.items()}
    lengths: dict[str, int] = {}
    before, tally, generator = _whole(model), Tally(), random.Random(seed)
    for count in range(number):
        name = sorted(calls)[count % len(calls)]
        if name not in lengths:
            whole = Interrupting()
            whole(calls[name])
            lengths[name] = whole.count
        at = generator.randint(1, lengths[name])
        Interrupting(at)(calls[name])
        after = partial(_as_before, model, before, calls[name], right[name])
        tally.judge(f"{name} interrupted at instruction {at} of {lengths[name]}", after)
    return tally


def _whole(model: torch.nn.Module) -> list[Any]:
    weights = [value.clone() for value in model.state_dict().values()]
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002
    draws = [torch.get_rng_state().tolist(), random.getstate(), legacy]
    return [state(model), draws, weights]


def _as_before(
    model: torch.nn.Module, before: list[Any], call: Callable[[], Any], right: Any
) -> bool:
    found = _whole(model)
    equal(found[:2], before[:2])
    for one, other in zip(found[2], before[2], strict=True):
        equal(one, other)
    return called(call, right)
