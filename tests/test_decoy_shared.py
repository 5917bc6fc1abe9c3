"""Patches of one mask that meet at the layer, against the exact optimum of their shared constraint.

With a one-layer ReLU trunk the feasible set of Eq. 2 is a polytope; scipy's linprog maximises over
all patches of a mask at once what moves along the sign. Ours may also move against it.
"""

import numpy as np
import torch
from scipy.optimize import linprog
from torch import nn

from surefoot.decoy import make_decoys

CASES = 30


def best(W, z, x, mask, sign, epsilon):
    """The largest sum of s d with s d >= 0 on the mask, as a share of the room there."""
    both = z > epsilon
    A = np.concatenate([W, -W[both]])
    limit = np.concatenate([np.where(z > 0, epsilon, epsilon - z), np.full(both.sum(), epsilon)])
    room = np.where(mask, 1 - x if sign > 0 else x, 0)
    box = [(0, r) if sign > 0 else (-r, 0) for r in room]
    found = linprog(np.full(len(x), -sign), A, limit, bounds=box, method="highs")
    return -found.fun / room.sum()


def ratios(make, shape, settings):
    """Ours over the exact optimum, for every decoy of every case with room."""
    rng, found = np.random.default_rng(0), []
    for case in range(CASES):
        torch.manual_seed(case)
        net = make()
        epsilon = float(rng.choice([0.01, 0.05, 0.1]))
        inputs = torch.from_numpy(rng.uniform(size=(1, *shape))).float()
        d = make_decoys(net, inputs, layer="1", epsilon=epsilon, units="absolute", **settings)
        assert d.joint
        assert d.coverage == 1
        assert (d.deviation <= epsilon * (1 + 1e-4)).all()
        unit = torch.eye(inputs.numel()).view(-1, *shape)
        with torch.no_grad():
            base = net[0](torch.zeros_like(inputs)).flatten()
            W = (net[0](unit).flatten(1) - base).T.double().numpy()
            z = net[0](inputs).flatten().double().numpy()
        x = inputs.flatten().double().numpy()
        for swing, sign, mask in zip(d.swing[0].tolist(), d.sign.tolist(), d.masks, strict=True):
            inside = mask.expand(shape).flatten().numpy()
            bound = best(W, z, x, inside, sign, epsilon)
            if bound > 1e-5:
                found.append(swing / bound)
    return np.array(found)


def test_records_whose_patches_meet_everywhere():
    def make():
        return nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 2)).eval()

    values = ratios(make, (12,), {"patch": 2, "decoys": 4})
    assert len(values) >= 100
    assert values.mean() >= 0.9
    assert np.quantile(values, 0.05) >= 0.7


def test_images_whose_patches_meet_with_their_neighbours():
    def make():
        convolution = nn.Conv2d(1, 2, 5, 2, 2)
        return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).eval()

    values = ratios(make, (1, 8, 8), {"patch": 2, "decoys": 8})
    assert len(values) >= 100
    assert values.mean() >= 0.9
    assert np.quantile(values, 0.05) >= 0.7
