"""Decoys of a ReLU(Wx + b) layer against its exact linear-programming bound.

With a one-layer trunk the feasible set of Eq. 2 is a polytope (active units |w.d| <= eps, nearly
dead ones w.d <= eps, dead ones w.d <= eps - z), so scipy's linprog gives the best decoy that moves
with the sign only. Ours may also move against it, so ratios above 1 are right.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from surefoot.decoy import make_decoys

CASES = 110
FEATURES = 12


def layer(rng, units):
    net = nn.Sequential(nn.Linear(FEATURES, units), nn.ReLU(), nn.Linear(units, 2)).eval()
    with torch.no_grad():
        scale = 1 / np.sqrt(FEATURES)
        net[0].weight.copy_(torch.from_numpy(rng.normal(scale=scale, size=(units, FEATURES))))
        net[0].bias.copy_(torch.from_numpy(rng.normal(scale=0.3, size=units)))
    return net


def best_swing(net, x, sign, epsilon):
    """Eq. 2 with s d >= 0, solved exactly; as a share of the room."""
    W, b = net[0].weight.detach().double().numpy(), net[0].bias.detach().double().numpy()
    z = W @ x + b
    upper = np.where(z > 0, epsilon, epsilon - z)
    both = z > epsilon
    A, limit = np.concatenate([W, -W[both]]), np.concatenate([upper, np.full(both.sum(), epsilon)])
    box = [(0, 1 - v) if sign > 0 else (-v, 0) for v in x]
    found = linprog(np.full(len(x), -sign), A, limit, bounds=box, method="highs")
    return -found.fun / (np.sum(1 - x) if sign > 0 else np.sum(x))


@pytest.mark.parametrize("units", [5, 40], ids=["under-complete", "over-complete"])
def test_swing_reaches_the_linear_programming_bound(units):
    rng = np.random.default_rng(units)
    ratios, tiny = [], []
    for case in range(CASES):
        epsilon = float(rng.choice([0.01, 0.05, 0.1]))
        net = layer(rng, units)
        x = rng.uniform(size=FEATURES)
        inputs = torch.from_numpy(x[None]).float()
        found = make_decoys(
            net, inputs, layer="1", patch=FEATURES, epsilon=epsilon, units="absolute"
        )
        assert (found.deviation <= epsilon * (1 + 1e-4)).all()
        for swing, sign in zip(found.swing[0].tolist(), found.sign.tolist(), strict=True):
            bound = best_swing(net, inputs[0].double().numpy(), sign, epsilon)
            (ratios if bound * FEATURES > 1e-4 else tiny).append((case, swing / max(bound, 1e-12)))
    values = np.array([ratio for _, ratio in ratios])
    assert len(values) >= 200, f"cases without room: {tiny}"
    assert values.mean() >= 0.95
    assert np.quantile(values, 0.05) >= 0.8


def test_against_all_signs_of_movement():
    """For three features the exact optimum over all subsets that move along the sign."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(30):
        W, b, x = rng.normal(size=(4, 3)), rng.normal(size=4) * 0.3, rng.uniform(size=3)
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
        with torch.no_grad():
            net[0].weight.copy_(torch.from_numpy(W))
            net[0].bias.copy_(torch.from_numpy(b))
        found = make_decoys(
            net, torch.from_numpy(x[None]), layer="1", epsilon=0.05, units="absolute"
        )
        z = W @ x + b
        both = z > 0.05
        A = np.concatenate([W, -W[both]])
        limit = np.concatenate([np.where(z > 0, 0.05, 0.05 - z), np.full(both.sum(), 0.05)])
        best = max(
            -linprog(-np.array(c), A, limit, bounds=list(zip(-x, 1 - x, strict=True))).fun
            for c in np.ndindex(2, 2, 2)
        )
        moved = (found.inputs[0, 0] - torch.from_numpy(x)).clamp_min(0).sum().item()
        ratios.append(moved / best)
    assert max(ratios) <= 1 + 1e-6
    assert np.mean(ratios) >= 0.9
