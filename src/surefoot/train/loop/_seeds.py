"""Independent streams of random numbers, each from the run's seed and its own name."""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are drawn for."""

    ORDER = 1
    TRANSFORMS = 2
    MODEL = 3
    OBJECTIVE = 4


def stream(seed: int, what: Stream, *place: int) -> torch.Generator:
    """The CPU generator of one stream, at a place such as (epoch,) or (batch, process)."""
    return torch.Generator().manual_seed(number(seed, what, *place))


def number(seed: int, what: Stream, *place: int) -> int:
    """The seed of one stream."""
    state = np.random.SeedSequence((seed, int(what), *place)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
