"""Natural changes: what they do to pictures and maps, and what an audit makes of them."""

import numpy as np
import pytest
import torch
from torch import nn

import surefoot
from surefoot import SurefootError, explain
from surefoot.auditing import natural

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

IMAGES = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_flips_and_turns_are_what_they_are_called():
    flip, turned = natural.Flip(), natural.Rotation(degrees=90)
    assert torch.equal(flip.change(flip.change(IMAGES)), IMAGES)
    for change in (turned.change, turned.follow):
        torch.testing.assert_close(change(IMAGES), IMAGES.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    still = natural.Rotation(degrees=0).change(IMAGES)
    torch.testing.assert_close(still, IMAGES, atol=1e-6, rtol=0)
    wide = torch.rand(1, 1, 8, 16)
    there = natural.Rotation(degrees=180).change(wide)
    torch.testing.assert_close(there, wide.flip(2, 3), atol=1e-5, rtol=0)


def test_shifts_repeat_the_edge_of_pictures_and_leave_nothing_in_maps():
    shift = natural.Shift(pixels=2)
    moved, followed = shift.change(IMAGES), shift.follow(IMAGES)
    assert torch.equal(moved[..., 2:, 2:], IMAGES[..., :-2, :-2])
    assert torch.equal(moved[..., 0, 2:], IMAGES[..., 0, :-2])
    assert torch.equal(followed[..., 2:, 2:], IMAGES[..., :-2, :-2])
    assert not followed[..., :2, :].any()
    assert not followed[..., :2].any()


def test_light_and_compression():
    assert torch.equal(natural.Brightness(by=0.1).change(IMAGES), IMAGES + 0.1)
    flat = natural.Contrast(factor=0).change(IMAGES)
    torch.testing.assert_close(flat, IMAGES.mean((1, 2, 3), keepdim=True).expand_as(IMAGES))
    pytest.importorskip("PIL")
    smooth = nn.functional.interpolate(IMAGES[:, :, :2, :2], size=32, mode="bilinear")
    errors = [(natural.JPEG(q).change(smooth) - smooth).abs().mean() for q in (10, 95)]
    assert errors[1] < 0.01 < errors[0]
    grey = natural.JPEG(95).change(smooth[:, :1])
    assert grey.shape == (6, 1, 32, 32)


def network(scale=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(4, 3)).eval()


def brightness_map(model, inputs, target):
    """A map that moves with the picture."""
    return inputs.clone()


def audit(net, **attacks):
    return surefoot.audit(
        net,
        (IMAGES, net(IMAGES).argmax(1)),
        explainers={"moves along": brightness_map, "gradient": explain.Gradient()},
        attacks=attacks,
        metrics=["spearman", "sensitivity"],
    )


def test_a_map_that_moves_with_the_picture_is_unchanged_by_geometry():
    frame = audit(network(), flip=natural.Flip()).frame()
    mine = frame.query("explainer == 'moves along' and attack == 'flip' and metric == 'spearman'")
    np.testing.assert_allclose(mine["value"], 1, atol=1e-6)
    still = frame.query("explainer == 'random map' and metric == 'spearman' and attack == 'flip'")
    assert still["value"].abs().max() < 0.5  # which does not follow
    assert set(frame["attack"]) == {"clean", "flip"}  # no floor: nobody draws signs here


class Dark(nn.Module):
    """Class 1 where a picture is lighter than half."""

    def forward(self, x):
        light = x.mean((1, 2, 3)) * 50 - 25
        return torch.stack([-light, light], 1)


def test_pairs_whose_prediction_changes_are_left_out_and_counted():
    net = Dark().eval()
    by = 0.01
    light = IMAGES.mean((1, 2, 3))
    lost = ((light < 0.5) & (light + by > 0.5)).numpy()
    assert 0 < lost.sum() < 6
    result = audit(net, lighter=natural.Brightness(by=by))
    frame = result.frame().query("explainer == 'moves along' and metric == 'spearman'")
    frame = frame[frame["attack"] == "lighter"]
    assert (frame["value"].isna() == lost).all()
    assert (frame["label_kept"] == ~lost).all()
    assert (frame["error"] == "").all()
    assert (frame[["goal", "scope", "knowledge"]] == "none").all().all()
    row = result.summary(resamples=10).query("explainer == 'moves along' and attack == 'lighter'")
    assert row.set_index("metric")["dropped"]["spearman"] == lost.sum()


def test_what_is_no_picture_is_refused():
    net = nn.Sequential(nn.Linear(4, 3)).eval()
    x = torch.rand(3, 4)
    with pytest.raises(SurefootError, match=r"changes images \(N, C, H, W\)"):
        surefoot.audit(
            net,
            (x, net(x).argmax(1)),
            explainers=[explain.Gradient()],
            attacks=[natural.Flip()],
            metrics=["spearman"],
        )
    assert natural.CHANGES.parse("Shift(pixels=3)") == natural.Shift(3)
    assert sorted(natural.CHANGES.known()) == [
        *("Brightness", "Contrast", "Flip", "JPEG", "Rotation", "Shift"),
    ]
