"""Randomised certificates: how often they are wrong, against closed forms and brute force."""

import math
from statistics import NormalDist

import pytest
import torch
from torch import nn

from surefoot import certify, explain
from surefoot.certify._counts import at_most, p_values, rejected
from surefoot.certify._noise import Gaussian, Uniform
from surefoot.errors import SurefootError
from surefoot.explain import Gradient

PHI = NormalDist()
ITSELF = explain.Function(lambda model, inputs, target: inputs)
MODEL = nn.Linear(2, 2).eval()


def certified(x, **settings):
    """Of the map that is the input itself, top 1 of two places, signed."""
    recipe = certify.Smoothed(ITSELF, k=1, reduction="sum", **settings)
    return recipe(MODEL, x, 0)


def test_the_mask_says_what_noise_does_and_abstains_between():
    """P(x0 + e0 > x1 + e1) = Phi((x0 - x1) / (sigma sqrt 2)) is far above, near, and below tau."""
    x = torch.tensor([[1.0, 0.0], [0.05, 0.0], [0.0, 1.0]])
    c = certified(x, sigma=0.2, samples=100)
    assert c.mask.tolist() == [[1, 0], [-1, -1], [0, 1]]
    assert c.radius == pytest.approx(0.2 * PHI.inv_cdf(0.75))
    assert (c.norm, c.failure, c.maps, c.k) == ("l2", 1e-3, 100, 1)
    assert c.certified.tolist() == [1, 0, 1]
    assert "probability <= 0.001" in repr(c)


@pytest.mark.parametrize("correction", ["bonferroni", "holm"])
def test_violations_are_no_more_often_than_alpha(correction):
    """At the edge of what may be certified: noise gives place 0 with probability tau exactly.

    Then an attack at the radius, along the worst direction, makes it a coin's toss, so that each
    certificate of it is a violation. Of 700 runs at most alpha may be, and chance: with 4.5
    standard deviations a correct rule fails once in 300,000 times.
    """
    sigma, tau, alpha, runs = 0.2, 0.75, 0.1, 700
    gap = sigma * math.sqrt(2) * PHI.inv_cdf(tau)
    x = torch.tensor([[gap, 0.0]])
    wrong = 0
    for seed in range(runs):
        c = certified(
            x, sigma=sigma, samples=60, tau=tau, alpha=alpha, seed=seed, correction=correction
        )
        wrong += int((c.mask >= 0).any())
    away = torch.tensor([[-1.0, 1.0]]) * c.radius / math.sqrt(2)
    moved = (x + away)[0]
    assert PHI.cdf(float(moved[0] - moved[1]) / sigma) == pytest.approx(0.5, abs=1e-6)
    assert wrong <= alpha * runs + 4.5 * math.sqrt(alpha * (1 - alpha) * runs)
    assert wrong > 0


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_certified_places_hold_at_the_radius(net, noise):
    """Fresh noise around a point at the radius, a thousand maps: no certified majority turns."""
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    recipe = certify.Smoothed(Gradient(), k=0.1, sigma=0.1, samples=100, noise=noise)
    c = recipe(net, x)
    assert 0.3 < float(c.certified.mean()) < 1
    way = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    way = way / way.flatten(1).norm(dim=1).view(2, 1, 1, 1)
    again = certify.Smoothed(Gradient(), k=0.1, sigma=0.1, samples=1000, seed=9, noise=noise)
    often = again(net, x + c.radius * way, c.target).frequency
    assert (often[c.mask == 1] > 0.4).all()
    assert (often[c.mask == 0] < 0.6).all()
    # The overlap of the most frequent places, too.
    here = again(net, x, c.target).frequency.flatten(1).topk(c.k, 1).indices
    there = often.flatten(1).topk(c.k, 1).indices
    shared = torch.stack(
        [torch.isin(a, b).double().mean() for a, b in zip(here, there, strict=True)]
    )
    assert (shared >= c.overlap).all()


def test_overlap_falls_with_the_radius_and_is_sound_in_closed_form():
    """It is 1 at no distance, and 0 where the two places have changed roles."""
    x = torch.tensor([[1.0, 0.0]])
    c = certified(x, sigma=0.5, samples=2000)
    radii = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6]
    floors = [float(c.overlap_at(radius)) for radius in radii]
    assert floors == sorted(floors, reverse=True)
    # The true map at distance R along (-1, 1): the places swap at R = 1 / sqrt(2).
    assert floors[0] == 1
    assert all(floor == 0 for floor, radius in zip(floors, radii, strict=True) if radius > 2**-0.5)
    assert torch.equal(c.overlap, c.overlap_at(c.radius))


def test_draws_do_not_depend_on_the_batch_or_its_chunks(net):
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    recipe = certify.Smoothed(Gradient(chunk=7), k=10, samples=30, guesses=9)
    whole = recipe(net, x, 1)
    alone = certify.Smoothed(Gradient(), k=10, samples=30, guesses=9)(net, x[1:2], 1)
    assert torch.equal(whole.mask[1:2], alone.mask)
    assert torch.equal(whole.frequency[1:2], alone.frequency)
    assert recipe == certify.Smoothed(Gradient(), k=10, samples=30, guesses=9)


def test_the_test_is_the_binomial_tail_and_the_bound_its_inverse():
    n, tau = 40, 0.7
    each = [math.comb(n, i) * tau**i * (1 - tau) ** (n - i) for i in range(n + 1)]
    tails = torch.tensor([math.fsum(each[i:]) for i in range(n + 1)], dtype=torch.float64)
    torch.testing.assert_close(p_values(torch.arange(n + 1), n, tau), tails)
    # Clopper and Pearson: at the upper bound p, so few successes have probability alpha.
    for count in (0, 3, 25, 39):
        p = float(at_most(torch.tensor([count]), n, 0.02))
        few = math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(count + 1))
        assert few == pytest.approx(0.02)
    assert float(at_most(torch.tensor([n]), n, 0.02)) == 1


def test_holm_steps_down_and_never_certifies_less():
    p = torch.tensor([[0.011, 0.5, 0.02, 0.001], [0.04, 0.03, 0.02, 0.3]])
    assert rejected(p, 0.05).tolist() == [[True, False, True, True], [False] * 4]
    many = torch.rand(50, 30, generator=torch.Generator().manual_seed(0)) ** 4
    assert (rejected(many, 0.1) >= (many <= 0.1 / 30)).all()


def test_uniform_noise_is_uniform_in_its_ball_and_its_bound_is_the_balls_overlap():
    noise = Uniform(0.5, 3)
    points = noise.draw(0, slice(0, 4000), torch.zeros(1, 3, dtype=torch.float64))
    length = points.norm(dim=1) / noise.ball
    assert length.max() <= 1
    # In three dimensions the cube of the length is uniform, entries have deviation sigma.
    assert float((length**3).mean()) == pytest.approx(0.5, abs=0.02)
    assert float((length**3).var()) == pytest.approx(1 / 12, abs=0.006)
    assert points.std(0).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    # Two balls of radius r, d apart, share 1 - 3 d / 4 r + d^3 / 16 r^3 of one.
    for share in (0.1, 0.5, 1.0, 1.9):
        outside = 3 * share / 4 - share**3 / 16
        assert float(noise.shifted(torch.zeros(1), share * noise.ball)) == pytest.approx(outside)
    half = noise.radius(0.7)
    assert float(noise.shifted(torch.tensor([0.3]), half)) == pytest.approx(0.5)
    assert float(noise.shifted(torch.tensor([0.3]), 9.0)) == 1


def test_gaussian_shift_is_that_of_a_half_space():
    noise = Gaussian(2.0)
    p = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    expected = [PHI.cdf(PHI.inv_cdf(float(each)) + 0.5) for each in p]
    assert noise.shifted(p, 1.0).tolist() == pytest.approx(expected)
    assert float(noise.shifted(torch.tensor([0.25]), noise.radius(0.75))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": 0.4}, "tau=0.4"),
        ({"alpha": 0}, "alpha=0"),
        ({"sigma": 0}, "sigma=0"),
        ({"samples": 10}, "guesses=10"),
        ({"noise": "laplace"}, "noise='laplace'"),
        ({"correction": "none"}, "correction='none'"),
        ({"k": 3}, "k=3"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    recipe = certify.Smoothed(**{"explainer": ITSELF, "k": 1} | settings)
    with pytest.raises(SurefootError, match=message):
        recipe(MODEL, torch.rand(1, 2), 0)
