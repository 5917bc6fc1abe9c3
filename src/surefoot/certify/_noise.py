"""Noise that certificates are made of, and what it lets an attack do to a probability.

If an event has probability p at x, how improbable or probable can it be at x + d, ||d||_2 <= R?
Gaussian noise: Phi(Phi^-1(p) -+ R / sigma) (Cohen et al., arXiv 1902.02918, by Neyman and
Pearson). Uniform noise over a ball of radius r: p -+ the share of one ball that lies outside the
other, TV(R); with t one coordinate of a point of the unit ball, TV = P(|t| < R / 2r), and t^2 is
Beta(1/2, (n + 1) / 2) distributed (Wang and Kong, 2405.06361, smooth this way; derived here).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from surefoot import draws
from surefoot.errors import optional

_MORE = 2**32  # the first draw number of these, beyond those of the directions


class Noise(ABC):
    """Noise of standard deviation sigma in every entry."""

    @abstractmethod
    def draw(self, seed: int, which: slice, like: Tensor) -> Tensor:
        """Draws (v, ...), each shaped like one of `like` (N, ...)."""

    @abstractmethod
    def radius(self, tau: float) -> float:
        """The L2 distance within which a probability above tau stays above one half."""

    @abstractmethod
    def shifted(self, p: Tensor, radius: float) -> Tensor:
        """The most that a probability p can become within that distance.

        The least is 1 minus the most of 1 - p.
        """


@dataclass(frozen=True)
class Gaussian(Noise):
    """N(0, sigma^2) in every entry."""

    sigma: float

    def draw(self, seed: int, which: slice, like: Tensor) -> Tensor:
        return self.sigma * draws.normal(seed, which, like)

    def radius(self, tau: float) -> float:
        return self.sigma * NormalDist().inv_cdf(tau)

    def shifted(self, p: Tensor, radius: float) -> Tensor:
        most: Tensor = torch.special.ndtr(torch.special.ndtri(p) + radius / self.sigma)
        return most


@dataclass(frozen=True)
class Uniform(Noise):
    """Uniform over the L2 ball whose entries have standard deviation sigma.

    Attributes:
        sigma: of one entry; the ball's radius is sigma sqrt(n + 2).
        entries: n, of one input.
    """

    sigma: float
    entries: int

    @property
    def ball(self) -> float:
        """The ball's radius."""
        return self.sigma * math.sqrt(self.entries + 2)

    def draw(self, seed: int, which: slice, like: Tensor) -> Tensor:
        # A point of the sphere in two dimensions more, without its last two entries, is uniform
        # in the ball.
        way = draws.normal(seed, which, like).double()
        flat = way.flatten(1)
        length = (flat.square().sum(1) + _independent(seed, which)).sqrt()
        return (self.ball * flat / length[:, None]).view_as(way).to(like)

    def radius(self, tau: float) -> float:
        share = _special().betaincinv(0.5, (self.entries + 1) / 2, tau - 0.5)
        return 2 * self.ball * math.sqrt(float(share))

    def shifted(self, p: Tensor, radius: float) -> Tensor:
        share = min(1.0, (radius / (2 * self.ball)) ** 2)
        apart = float(_special().betainc(0.5, (self.entries + 1) / 2, share))
        return (p + apart).clamp_max(1)


def _independent(seed: int, which: slice) -> Tensor:
    """The squared length of two Gaussian numbers more, (v,)."""
    each = [
        torch.rand((), generator=draws.generator(seed, _MORE + draw), dtype=torch.float64)
        for draw in range(which.start, which.stop)
    ]
    return -2 * torch.log1p(-torch.stack(each))


def _special() -> Any:
    return optional("scipy.special", "certify")
