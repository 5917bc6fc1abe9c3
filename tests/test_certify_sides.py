"""Both sides of a map's robustness: floors below ceilings, and what has none says so."""

import math

import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, audit, certify
from surefoot.attack import L2, Linf
from surefoot.explain import Function, Gradient, InputXGradient, IntegratedGradients, SmoothGrad


@pytest.fixture
def case():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        net = nn.Sequential(*layers).double().eval()
    return net, torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize(
    "explainer",
    [
        Gradient(),
        InputXGradient(),
        IntegratedGradients(steps=2),
        SmoothGrad(Gradient(), samples=2, std=0.1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("budget", [Linf(0.02, steps=3), L2(0.1, steps=3)], ids=["linf", "l2"])
def test_the_floor_is_below_the_ceiling_and_that_below_all_else(case, explainer, budget):
    net, x = case
    found = certify.sides(net, x, None, explainer, budget, k=6, effort="quick", draws=3)
    assert (found.floor <= found.ensemble).all()
    assert (found.ensemble <= found.random).all()
    assert found.ensemble.mean() <= found.published.mean()
    assert found.floor.mean() > 0
    assert found.reasons == ()
    assert torch.equal(found.target, net(x).argmax(1))


def test_nothing_moves_nothing(case):
    net, x = case
    found = certify.sides(net, x, 1, Gradient(), Linf(0.0, steps=1), k=6)
    assert all(value == 1 for value in found.means().values())


def test_what_cannot_be_proved_or_run_is_nan_and_says_why(case):
    net, x = case
    found = certify.sides(net, x, None, Function(Gradient()), Linf(0.02, steps=2), k=6)
    assert found.floor.isnan().all()
    assert found.published.isnan().all()
    assert "no exact bounds" in found.reasons[0]
    assert len(found.reasons) == 2
    assert math.isnan(found.means()["floor"])
    assert "ensemble" in repr(found)


def test_audits_measure_floors_of_explainers_that_have_one(case):
    net, x = case
    result = audit(
        net,
        (x, net(x).argmax(1)),
        explainers={"gradient": Gradient(), "integrated": IntegratedGradients(steps=2)},
        attacks={"ensemble": attack.Ensemble(Linf(0.02, steps=2), k=6, effort="quick")},
        metrics={"left": "topk_intersection", "floor": certify.Floor(0.02, k=6)},
    )
    rows = result.frame()
    floors = rows[rows.metric == "floor"].groupby("explainer").value.mean()
    left = rows[(rows.metric == "left") & (rows.attack == "ensemble")]
    left = left.groupby("explainer").value.mean()
    exact = certify.Exact(Gradient(), 0.02, k=6)(net, x).overlap.mean()
    assert floors["gradient"] == pytest.approx(float(exact))
    assert (floors[["gradient", "integrated"]] <= left[["gradient", "integrated"]]).all()
    assert math.isnan(floors["random map"])


def test_floors_are_read_from_text_and_checked(case):
    net, x = case
    assert certify.FLOORS.parse("Floor(1/2550, k=10)") == certify.Floor(1 / 2550, k=10)
    with pytest.raises(SurefootError, match="radius=-1"):
        certify.Floor(-1.0, k=3)(Gradient(), net, x, net(x).argmax(1))
