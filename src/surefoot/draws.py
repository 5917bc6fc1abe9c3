"""Random draws that depend on (seed, draw number) alone: made on the CPU, shared by all samples."""

import numpy as np
import torch
from torch import Tensor

from surefoot.checks import check_whole


def generator(seed: int, draw: int) -> torch.Generator:
    """The CPU generator of one draw; the global random state is left alone."""
    check_whole("seed", seed, 0)
    state = np.random.SeedSequence((seed, draw)).generate_state(1, np.uint64)
    return torch.Generator("cpu").manual_seed(int(state[0]))


def normal(seed: int, draws: slice, like: Tensor) -> Tensor:
    """Standard normal draws (v, ...), each shaped like one sample of `like` (N, ...)."""
    return _stack(torch.randn, seed, draws, like)


def uniform(seed: int, draws: slice, like: Tensor) -> Tensor:
    """Uniform draws in [0, 1), (v, ...), each shaped like one sample of `like` (N, ...)."""
    return _stack(torch.rand, seed, draws, like)


def permutation(seed: int, draw: int, count: int) -> Tensor:
    """A random order of `count` things, on the CPU."""
    return torch.randperm(count, generator=generator(seed, draw), device="cpu")


def _stack(sample, seed: int, draws: slice, like: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    each = [
        # torch's defaults must not change the draws.
        sample(like.shape[1:], generator=generator(seed, draw), device="cpu", dtype=torch.float32)
        for draw in range(draws.start, draws.stop)
    ]
    return torch.stack(each).to(like)
