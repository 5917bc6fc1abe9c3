"""Patches on no common grid: they cover all places, keep apart, and no period of theirs is left."""

import pytest
import torch
from torch import nn

from surefoot.decoy import Settings, make_decoys, prepare
from surefoot.decoy._scatter import scattered
from surefoot.decoy._solve import gathered, learn, linearise

SIZES = [(32, 32), (60, 41), (17, 90), (90, 17)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", [2, 3, 5])
def test_scattered_patches_cover_every_place_and_those_of_a_mask_keep_apart(size, patch):
    counts = (4, 3)
    for draw in range(20):
        masks = scattered(size, patch, counts, 0, draw)
        assert len(masks) == 12
        covered = torch.zeros(size, dtype=torch.bool)
        for corners in masks:
            assert (corners >= 0).all()
            assert (corners + patch <= torch.tensor(size)).all()
            for row, column in corners.tolist():
                covered[row : row + patch, column : column + patch] = True
            apart = (corners[:, None] - corners[None]).abs() - patch * torch.tensor(counts)
            # Strips step aside by less than a patch, and patches at the edge move in by less.
            near = (apart <= -2 * patch).all(2)
            assert near.sum() == len(corners), "a patch is near to itself alone"
        assert covered.all()


def test_scattered_patches_of_volumes_cover_them():
    covered = torch.zeros(7, 20, 22, dtype=torch.bool)
    for corners in scattered(covered.shape, 3, (2, 2, 2), 1, 0):
        for corner in corners.tolist():
            covered[tuple(slice(c, c + 3) for c in corner)] = True
    assert covered.all()


def test_scattered_patches_lie_at_every_residue_and_are_drawn_by_the_seed():
    corners = torch.cat(scattered((90, 90), 3, (5, 5), 0, 0))
    for axis in (0, 1):
        share = torch.bincount(corners[:, axis] % 3) / len(corners)
        assert share.min() > 0.1
    again, other = (torch.cat(scattered((90, 90), 3, (5, 5), seed, 0)) for seed in (0, 1))
    assert torch.equal(corners, again)
    assert corners.shape != other.shape or not torch.equal(corners, other)


def network(activation=nn.ReLU):
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 8, 3, 1, 1), activation(), nn.Conv2d(8, 6, 3, 2, 1), activation()
    return nn.Sequential(*stem, nn.Flatten(), nn.LazyLinear(2)).eval()


def lattice(offsets, patch=3):
    """How unevenly places move by their position in a period of the patches' side."""
    moved = offsets.abs().sum((0, 1, 2))
    sizes = [size // patch for size in moved.shape]
    cut = moved[: sizes[0] * patch, : sizes[1] * patch]
    each = cut.view(sizes[0], patch, sizes[1], patch).mean((0, 2))
    return float(each.std() / each.mean())


def test_no_period_of_patches_is_left_in_what_moves():
    image = torch.rand(1, 3, 48, 48)
    net = network()
    net(image)
    scattered_ones = make_decoys(net, image, layer="3", effort="fast")
    on_a_grid = make_decoys(net, image, layer="3", effort="fast", stride=3)
    assert scattered_ones.coverage == on_a_grid.coverage == 1
    assert not scattered_ones.joint
    assert all((corners % 3 == 0).all() for corners in on_a_grid.corners)
    spread, on_grid = (lattice(d.inputs - image[:, None]) for d in (scattered_ones, on_a_grid))
    assert on_grid > 0.05
    assert spread < 0.5 * on_grid
    assert scattered_ones.swing.median() > 0.95 * on_a_grid.swing.median()


def test_patches_of_a_transformer_lie_in_one_token_each():
    torch.manual_seed(0)
    tokens = nn.Conv2d(1, 4, 10, 10)
    net = nn.Sequential(tokens, nn.Flatten(2), nn.Linear(9, 5), nn.Flatten(), nn.Linear(20, 2))
    image = torch.rand(1, 1, 30, 30)
    d = make_decoys(net.eval(), image, layer="0", effort="fast")
    assert d.coverage == 1
    for corners in d.corners:
        assert torch.equal(corners // 10, (corners + d.patch - 1) // 10)


class Rolled(nn.Module):
    """Outputs that do not lie along the input's axes."""

    def forward(self, x):
        return torch.cat([x[..., ::2].flatten(1), x.roll(1, 2).mean(1).flatten(1)], 1)


@pytest.mark.parametrize("kind", ["strided", "tokens", "rolled"])
def test_slopes_learnt_together_are_those_learnt_block_by_block(kind):
    torch.manual_seed(0)
    image = torch.rand(1, 3, 24, 24, dtype=torch.float64)
    layer = {
        "strided": nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.Tanh()),
        "tokens": nn.Conv2d(3, 4, 8, 8),
        "rolled": Rolled(),
    }[kind]
    net = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2)).double().eval()
    net(image)
    settings = Settings(layer="0", units="absolute", effort="fast")
    search = prepare(net, image, {}, settings, "image")
    with torch.no_grad():
        problem = search._problem(search._reference(image, {}), list(search.plan.masks[:3]))
        half, plan = problem.first_half(), search.plan.stencil
        assert plan is not None
        assert plan.count < search.plan.columns * len(search.plan.masks)
        together = gathered(half, learn(problem, plan), plan)
        u = torch.zeros_like(half.span[0])
        alone = linearise(half, u, u.new_zeros(half.outputs.shape))
    rows = half.outputs.shape[1]
    assert together.slopes.shape == alone.slopes.shape
    if together.which.shape[1] == rows:
        order, other = (each.argsort(1)[..., None] for each in (together.which, alone.which))
        wide = order.expand_as(alone.slopes)
        torch.testing.assert_close(
            together.slopes.gather(1, wide), alone.slopes.gather(1, other.expand_as(wide))
        )
    sizes = [each.square().sum((1, 2)) for each in (together.slopes, alone.slopes)]
    torch.testing.assert_close(*sizes)
