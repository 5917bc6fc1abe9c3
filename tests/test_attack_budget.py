"""Budgets: projections onto ball and box, lengths of steps, random points, recipes."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from surefoot import SurefootError
from surefoot.attack import L2, Linf
from surefoot.budget import Box

EPSILON = 0.3


@pytest.fixture
def box():
    torch.manual_seed(0)
    centre = torch.rand(5, 3, 4, dtype=torch.float64)
    centre[0, 0, 0], centre[1, 0, 0] = 0, 1  # on the edge
    return Box(centre, torch.zeros(3, 4).double(), torch.ones(3, 4).double())


def far(box, size=1.0):
    return box.centre + size * torch.randn_like(box.centre)


def dykstra(points, box, radius):
    """The nearest point of ball and box, by Dykstra's alternating projections."""
    x, p, q = points, torch.zeros_like(points), torch.zeros_like(points)
    for _ in range(20000):
        way = (x + p - box.centre).flatten(1)
        shrink = (radius / way.norm(dim=1, keepdim=True)).clamp_max(1)
        y = box.centre + (way * shrink).view_as(points)
        p = x + p - y
        x, q = (y + q).clamp(0, 1), y + q - (y + q).clamp(0, 1)
    return x


@pytest.mark.parametrize("size", [0.05, 0.5, 5.0])
def test_l2_projection_is_the_nearest_point_of_ball_and_box(box, size):
    points = far(box, size)
    expected = dykstra(points, box, EPSILON)
    torch.testing.assert_close(L2(EPSILON).project(points, box), expected, rtol=0, atol=1e-9)


def test_linf_projection_is_the_nearest_point_of_both_boxes(box):
    points = far(box)
    low, high = (box.centre - EPSILON).clamp_min(0), (box.centre + EPSILON).clamp_max(1)
    expected = torch.stack([points, low, high]).median(0).values
    assert torch.equal(Linf(EPSILON).project(points, box), expected)


@pytest.mark.parametrize("budget", [Linf(EPSILON), L2(EPSILON)])
def test_projection_is_idempotent_feasible_and_the_identity_inside(box, budget):
    there = budget.project(far(box), box)
    torch.testing.assert_close(budget.project(there, box), there, rtol=0, atol=1e-15)
    assert there.min() >= 0
    assert there.max() <= 1
    order = 2 if budget.norm == "l2" else torch.inf
    way = (there - box.centre).flatten(1).norm(order, dim=1)
    assert (way <= EPSILON * (1 + 1e-12)).all()
    inside = box.clip(box.centre + 1e-3)
    torch.testing.assert_close(budget.project(inside, box), inside, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", [Linf, L2])
def test_radius_zero_leaves_only_the_input(box, kind):
    assert torch.equal(kind(0.0).project(far(box), box), box.centre)
    assert torch.equal(kind(0.0).random(0, 0, box), box.centre)


def test_l2_projection_meets_a_full_corner(box):
    """With room for less than epsilon in every entry the corner of the box is reached."""
    expected = (box.centre > 0.5).double()
    points = box.centre + 100 * (expected - 0.5)
    torch.testing.assert_close(L2(100.0).project(points, box), expected)


@pytest.mark.parametrize("kind", [Linf, L2])
def test_steps_have_the_length_asked_for(box, kind):
    slope = torch.randn_like(box.centre) * 1e-30
    unit = kind(1.0).unit(slope)
    order = 2 if kind is L2 else torch.inf
    torch.testing.assert_close(unit.flatten(1).norm(order, dim=1), torch.ones(5).double())
    assert (kind(1.0).unit(torch.zeros_like(slope)) == 0).all()
    wide = Box(torch.zeros_like(slope), box.low - 9, box.high + 9)
    moved = kind(1.0, step_size=0.25).climb(wide.centre, slope, 3, wide)
    torch.testing.assert_close(moved, 0.25 * unit)


def test_default_steps_fall_from_epsilon_to_a_share_of_it():
    budget = Linf(0.5, steps=5)
    assert [round(budget.length(i), 10) for i in range(5)] == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert Linf(0.5, steps=5, step_size=0.02).length(4) == 0.02


@pytest.mark.parametrize("kind", [Linf, L2])
def test_random_points_are_shared_by_the_batch_and_seeded(box, kind):
    wide = Box(torch.zeros_like(box.centre), box.low - 9, box.high + 9)
    budget = kind(EPSILON)
    first = budget.random(0, 1, wide)
    assert torch.equal(first, budget.random(0, 1, wide))
    assert not torch.equal(first, budget.random(0, 2, wide))
    assert not torch.equal(first, budget.random(1, 1, wide))
    assert torch.equal(first[0], first[4])
    torch.testing.assert_close(first[2:3], budget.random(0, 1, wide.take(torch.tensor([2]))))


def test_a_sequence_of_radii_makes_budgets():
    several = Linf([0.1, 0.2], steps=3)
    assert several.each() == [Linf(0.1, steps=3), Linf(0.2, steps=3)]
    with pytest.raises(SurefootError, match=r"several radii.*\.each\(\)"):
        _ = several.radius


def test_recipes_show_compare_and_are_frozen():
    assert repr(Linf(0.5, steps=7)) == "Linf(0.5, steps=7)"
    bounds = (torch.zeros(3, 1, 1), 1)
    assert Linf(0.1, bounds=bounds) == Linf(0.1, bounds=(torch.zeros(3, 1, 1), 1))
    assert hash(Linf(0.1, bounds=bounds)) == hash(Linf(0.1, bounds=(torch.zeros(3, 1, 1), 1)))
    assert Linf(0.1) != L2(0.1)
    assert Linf(0.1) != replace(Linf(0.1), steps=3)
    with pytest.raises(FrozenInstanceError):
        Linf(0.1).steps = 3


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Linf(-0.1), "epsilon=-0.1, expected a finite number >= 0"),
        (L2(float("nan")), "epsilon=nan"),
        (Linf(0.1, step_size=-1.0), "step_size=-1.0"),
        (Linf(0.1, steps=-1), "steps=-1, expected at least 0"),
        (Linf(0.1, restarts=0), "restarts=0"),
    ],
)
def test_settings_out_of_range_are_named(budget, message):
    with pytest.raises(SurefootError, match=message):
        budget.check()
