"""A ball holds exactly in every precision: no number of it is further than its radius."""

from fractions import Fraction

import pytest
import torch

from surefoot import attack, draws
from surefoot.budget import Box, _neighbour

PRECISIONS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
RADII = [0.0, 1e-6, 1 / 255, 8 / 255, 0.1, 0.7]


def box(dtype, low=0.0, high=1.0):
    centre = torch.rand(3, 2, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centre[0, 0, :5] = torch.tensor([0.0, 1.0, 1e-7, 0.5, 2**-10])
    bounds = (torch.full((2, 40), value, dtype=dtype) for value in (low, high))
    return Box(centre.to(dtype), *bounds)


def apart(moved, centre):
    """The exact differences, as fractions."""
    pairs = zip(moved.double().flatten().tolist(), centre.double().flatten().tolist(), strict=True)
    return [abs(Fraction(a) - Fraction(b)) for a, b in pairs]


def points(budget, around):
    far = around.centre + draws.normal(1, slice(0, 3), around.centre)
    yield budget.project(far, around)
    yield budget.project(around.centre + budget.radius * (far - around.centre).sign(), around)
    for seed in range(3):
        yield budget.signs(seed, 0, around)
        yield budget.random(seed, 0, around)
    yield budget.climb(around.centre, far - 0.5, 0, around)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("kind", [attack.Linf, attack.L2])
def test_nothing_leaves_the_ball(kind, radius, dtype):
    budget, around = kind(radius), box(dtype)
    for moved in points(budget, around):
        assert moved.dtype == dtype
        assert (moved >= around.low).all()
        assert (moved <= around.high).all()
        if kind is attack.Linf:
            # One rounding of the sum in float64 is all that is left there.
            slack = Fraction(2**-53) if dtype == torch.float64 else 0
            assert max(apart(moved, around.centre)) <= Fraction(radius) + slack
            assert ((moved - around.centre).abs() <= radius + float(slack)).all()
        else:
            for one, own in zip(moved, around.centre, strict=True):
                assert sum(d**2 for d in apart(one, own)) <= Fraction(radius) ** 2


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_random_signs_reach_the_surface_as_near_as_the_precision_has_it(dtype):
    around = box(dtype, -2.0, 2.0)
    moved = attack.Linf(8 / 255).signs(0, 0, around)
    ulp = 2 * torch.finfo(dtype).eps
    assert float((moved - around.centre).double().abs().min()) >= 8 / 255 - ulp
    if dtype in (torch.float64, torch.float32):
        length = (attack.L2(0.5).signs(0, 0, around) - around.centre).flatten(1).norm(dim=1)
        torch.testing.assert_close(length, torch.full_like(length, 0.5), rtol=1e-5, atol=0)


def test_neighbours_in_half_precision_are_those_of_the_format():
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    every = bits.view(torch.float16)
    every = every[every.isfinite()].unique()
    above, below = every[1:], every[:-1]
    assert torch.equal(_neighbour(below, torch.full_like(below, torch.inf)), above)
    assert torch.equal(_neighbour(above, torch.full_like(above, -torch.inf)), below)
