"""Randomised certificates: the top k under noise, place by place, for any explainer.

Anani, Lorenz, Fritz and Schiele, Pixel-level Certified Explanations via Randomized Smoothing (ICML
2025, arXiv 2506.15499), for the mask; Levine, Singla and Feizi (1905.12105) for the overlap, here
with a bound for each place and the exact worst case of them.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from surefoot import checks
from surefoot.attack import explained
from surefoot.certify._base import Certifier
from surefoot.certify._certificate import UNKNOWN, Certificate
from surefoot.certify._counts import at_most, p_values, rejected
from surefoot.certify._interval import Interval
from surefoot.certify._noise import Gaussian, Noise, Uniform
from surefoot.certify._places import overlap
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain import Explainer, as_explainer
from surefoot.gradients import Query
from surefoot.maps import Count, Reduction, count, reduce, top

Kind = Literal["gaussian", "uniform"]
Correction = Literal["holm", "bonferroni"]


@dataclass(frozen=True, repr=False)
class Frequencies(Certificate):
    """A randomised certificate, with what was counted.

    Attributes:
        frequency: how often a place was among the top k, float64, in [0, 1], one a place: the map
            of the smoothed explainer.

    >>> from torch import nn
    >>> from surefoot.explain import Gradient
    >>> net = nn.Linear(4, 2).eval()
    >>> c = Smoothed(Gradient(), k=2, sigma=0.1)(net, torch.rand(3, 4))
    >>> sorted(set(c.frequency.flatten().tolist()))  # a linear network has one map everywhere
    [0.0, 1.0]
    >>> bool((c.overlap_at(0.05) >= c.overlap_at(0.1)).all())
    True
    """

    frequency: Tensor = field(kw_only=True)

    def overlap_at(self, radius: float) -> Tensor:
        """The certified overlap at another radius (L2, input units), (N,); no pass is needed."""
        recipe = self.recipe
        if not isinstance(recipe, Smoothed):
            raise SurefootError(f"{recipe!r} made no frequencies")
        return recipe.overlap_of(self.frequency, self.k, radius, self.inputs[0].numel())


@dataclass(frozen=True, repr=False)
class Smoothed(Certifier[Frequencies]):
    """The top-k mask of any explainer under noise, certain place by place or abstaining.

    Needs: nothing of the model or the explainer but their maps; `samples` maps a sample. Promises,
    of the *smoothed* explainer (which calls a place important if the map of a noisy input has it
    among its k largest more often than not): with probability 1 - alpha over the noise, for all
    places of a sample together, the class that `mask` gives a place is the one that the smoothed
    explainer gives it at every x' with ||x' - x||_2 <= radius. The first draws guess each place's
    class, the others test, one-sided, that noise gives it with probability above tau; radius is
    sigma Phi^-1(tau). The prediction need not be kept, the target is held.

    `overlap` is of the smoothed explainer's other form, whose map is `frequency` (Sparsified
    SmoothGrad): its k largest places, counted here, share at least that with those of its true
    map at every x' within the radius, again with probability 1 - alpha.

    Noise is not clipped to any bounds. An explainer that draws for itself keeps its own seed.

    Args:
        explainer: any, or a callable (model, inputs, target).
        k: number of places, or their share if a float below 1.
        sigma: standard deviation of the noise, in input units.
        samples: maps.
        tau: the probability tested against, in [0.5, 1).
        alpha: probability that something said of a sample is wrong.
        seed: of the noise.
        guesses: of the samples, those that guess.
        noise: "gaussian", or "uniform" over an L2 ball with the same sigma in every entry.
        correction: for testing many places: "bonferroni" (the paper's), or "holm", which
            certifies at least as much with the same promise.
        reduction: of the maps, see `explain.reduce`.

    >>> from torch import nn
    >>> from surefoot.explain import Gradient
    >>> net = nn.Linear(4, 2).eval()
    >>> c = Smoothed(Gradient(), k=2, sigma=0.1)(net, torch.rand(3, 4))  # one map everywhere
    >>> float(c.certified.min()), round(c.radius, 4), c.mask.dtype
    (1.0, 0.0674, torch.int8)
    """

    explainer: Explainer
    k: Count = 0.05
    sigma: float = 0.15
    samples: int = 100
    tau: float = 0.75
    alpha: float = 1e-3
    seed: int = 0
    guesses: int = field(default=10, kw_only=True)
    noise: Kind = field(default="gaussian", kw_only=True)
    correction: Correction = field(default="bonferroni", kw_only=True)
    reduction: Reduction = field(default="sum_abs", kw_only=True)

    def certify(self, request: Query) -> Frequencies:
        self._check()
        noise = self._noise(request.inputs[0].numel())
        k, guessed, counted = self._counted(request, noise)
        radius = noise.radius(self.tau)
        frequency = (guessed + counted).double() / self.samples
        return Frequencies(
            recipe=self,
            inputs=request.inputs,
            target=request.target,
            mask=self._mask(guessed, counted),
            k=k,
            radius=radius,
            norm="l2",
            failure=self.alpha,
            overlap=self.overlap_of(frequency, k, radius, request.inputs[0].numel()),
            maps=self.samples,
            frequency=frequency,
            layout=request.known_layout(),
        )

    def overlap_of(self, frequency: Tensor, k: int, radius: float, entries: int) -> Tensor:
        """The certified overlap, (N,), from how often each place was among k; see `Frequencies`."""
        checks.check_number("radius", radius)
        noise = self._noise(entries)
        counts = (frequency * self.samples).round()
        each = self.alpha / (2 * frequency[0].numel())
        least = 1 - noise.shifted(at_most(self.samples - counts, self.samples, each), radius)
        most = noise.shifted(at_most(counts, self.samples, each), radius)
        inside = top(frequency.flatten(1), k).view_as(frequency)
        return overlap(Interval(least, most), inside, k)

    def _check(self) -> None:
        checks.check_whole("samples", self.samples, 2)
        checks.check_whole("guesses", self.guesses, 1)
        if self.guesses >= self.samples:
            raise SurefootError(
                f"guesses={self.guesses} of samples={self.samples} leave none to test with"
            )
        if not 0 < self.alpha < 1 or not 0.5 <= self.tau < 1 or not 0 < self.sigma < float("inf"):
            raise SurefootError(
                f"alpha={self.alpha}, tau={self.tau}, sigma={self.sigma}: expected alpha in (0, 1),"
                " tau in [0.5, 1) and sigma > 0"
            )
        for name, kinds in (("noise", Kind), ("correction", Correction)):
            if getattr(self, name) not in get_args(kinds):
                raise SurefootError(
                    f"{name}={getattr(self, name)!r}, choose one of {get_args(kinds)}"
                )

    def _noise(self, entries: int) -> Noise:
        if self.noise == "gaussian":
            return Gaussian(self.sigma)
        return Uniform(self.sigma, entries)

    def _counted(self, request: Query, noise: Noise) -> tuple[int, Tensor, Tensor]:
        """K, and how often each place was among the top k of the guessing and the other draws."""
        base, inputs = as_explainer(self.explainer), request.inputs
        counts: list[Tensor] = []
        k = 0

        def compute(block: Block) -> Tensor:
            points = inputs[block.samples, None] + noise.draw(self.seed, block.variants, inputs)
            asked = request.take(block.samples).expand(points)
            maps = explained(base, asked)
            places = reduce(maps, self.reduction, asked.layout)
            return places.view(*points.shape[:2], *places.shape[1:])

        for block, maps in each_block(
            len(inputs), self.samples, rows_per_batch(inputs, base.chunk), compute
        ):
            if not counts:
                k = count(self.k, maps[0, 0].numel())
                counts = [
                    torch.zeros(len(inputs), *maps.shape[2:], dtype=torch.long, device=maps.device)
                    for _ in range(2)
                ]
            among = top(maps.flatten(0, 1).flatten(1), k).view_as(maps)
            early = max(0, min(maps.shape[1], self.guesses - block.variants.start))
            counts[0][block.samples] += among[:, :early].sum(1)
            counts[1][block.samples] += among[:, early:].sum(1)
        return k, counts[0], counts[1]

    def _mask(self, guessed: Tensor, counted: Tensor) -> Tensor:
        """The guess of each place where the test confirms it, int8."""
        trials = self.samples - self.guesses
        guess = 2 * guessed > self.guesses
        p = p_values(torch.where(guess, counted, trials - counted), trials, self.tau).flatten(1)
        sure = (
            rejected(p, self.alpha) if self.correction == "holm" else p <= self.alpha / p.shape[1]
        )
        return torch.where(sure.view_as(guess), guess.to(torch.int8), UNKNOWN)
