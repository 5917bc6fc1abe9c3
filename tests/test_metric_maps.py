"""Sparsity and localisation by hand and by independent counting."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from measured import rand
from surefoot import SurefootError, metric


def test_gini_is_the_mean_absolute_difference():
    a = rand(4, 3, 5, 5) - 0.5
    for found, one in zip(metric.gini(a, offset=0.01), a.flatten(1).abs() + 0.01, strict=True):
        difference = (one[:, None] - one).abs().mean()
        assert found.item() == pytest.approx(float(difference / (2 * one.mean())))


def test_gini_of_known_maps():
    one_hot, even, zero = torch.zeros(1, 10), torch.full((1, 10), -3.0), torch.zeros(1, 10)
    one_hot[0, 4] = -1e-20
    assert metric.gini(one_hot, offset=0).item() == pytest.approx(0.9)
    assert metric.gini(one_hot).item() == pytest.approx(0, abs=1e-7)  # drowned by the offset
    with pytest.raises(SurefootError, match="offset"):
        metric.gini(one_hot, offset=-1e-7)
    assert metric.gini(even).item() == pytest.approx(0, abs=1e-7)
    assert metric.gini(zero).item() == pytest.approx(0, abs=1e-7)
    uniform, normal = rand(1, 100_000), torch.randn(1, 100_000)
    assert metric.gini(uniform).item() == pytest.approx(1 / 3, abs=0.01)
    assert metric.gini(normal).item() == pytest.approx(0.414, abs=0.01)


@pytest.mark.parametrize("name", ["gini", "entropy", "effective_complexity"])
def test_sparsity_ignores_scale_and_arrangement(name):
    a = rand(3, 6, 6) ** 3
    function = metric.get(name, **({"offset": 0.0} if name == "gini" else {}))
    order = torch.randperm(36)
    torch.testing.assert_close(function(1e-9 * a), function(a))
    torch.testing.assert_close(function(a.flatten(1)[:, order]), function(a))


def test_entropy_of_known_maps():
    one_hot = torch.zeros(1, 64)
    one_hot[0, 7] = -5
    halves = torch.tensor([[1.0, -1.0, 0.0, 0.0]])
    assert metric.entropy(one_hot).item() == 0
    assert metric.entropy(halves).item() == pytest.approx(math.log(2))
    assert metric.entropy(torch.ones(1, 8, 8)).item() == pytest.approx(math.log(64))
    assert metric.entropy(torch.zeros(1, 8, 8)).item() == pytest.approx(math.log(64))


def test_effective_complexity_by_hand():
    a = torch.tensor([[4.0, 1.0, 0.5, 0.0, -8.0]])
    assert metric.effective_complexity(a).item() == 3
    assert metric.effective_complexity(a.abs()).item() == 4
    assert metric.effective_complexity(a, epsilon=0.1).item() == 2
    assert metric.effective_complexity(torch.zeros(1, 5)).item() == 0
    with pytest.raises(SurefootError, match="epsilon"):
        metric.effective_complexity(a, epsilon=1.0)


def make_mask(side=9):
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[0, 2:5, 3:6] = True
    return mask


def test_pointing_game_ties_and_tolerance():
    mask, h = make_mask(), torch.zeros(1, 9, 9)
    assert metric.pointing_game(h, mask).item() == 1  # all are largest, one is inside
    h[0, 8, 8] = 1
    assert metric.pointing_game(h, mask).item() == 0
    h[0, 2, 3] = 1
    assert metric.pointing_game(h, mask).item() == 1
    for far, hit in ((math.hypot(4, 3), 5), (math.hypot(4, 2), 5)):
        h = torch.zeros(1, 9, 9)
        h[0, 8, round(5 + math.sqrt(far**2 - 16))] = 1
        assert metric.pointing_game(h, mask, tolerance=hit).item() == 1
        assert metric.pointing_game(h, mask, tolerance=math.ceil(far) - 1).item() == 0
    with pytest.raises(SurefootError, match="tolerance"):
        metric.pointing_game(h, mask, tolerance=-1)
    with pytest.raises(SurefootError, match="tolerance"):
        metric.pointing_game(h.flatten(1), mask.flatten(1), tolerance=2)


def test_relevance_accuracies_by_loops():
    h, mask = rand(3, 9, 9), rand(3, 9, 9, seed=1) < 0.3
    mass, rank = metric.relevance_mass_accuracy(h, mask), metric.relevance_rank_accuracy(h, mask)
    top = metric.topk_localisation(h, mask, 12)
    for i in range(3):
        inside = mask[i].flatten().numpy()
        order = np.argsort(-h[i].flatten().numpy(), kind="stable")
        assert mass[i].item() == pytest.approx(float(h[i][mask[i]].sum() / h[i].sum()))
        assert rank[i].item() == pytest.approx(inside[order[: inside.sum()]].mean())
        assert top[i].item() == pytest.approx(inside[order[:12]].mean())


def test_relevance_mass_refuses_signs():
    with pytest.raises(SurefootError, match="negative"):
        metric.relevance_mass_accuracy(-rand(1, 9, 9), make_mask())


def test_localisation_auc_agrees_with_scikit_learn():
    h, mask = (rand(4, 9, 9) * 5).round(), rand(4, 9, 9, seed=1) < 0.3
    expected = [roc_auc_score(m.flatten(), x.flatten()) for m, x in zip(mask, h, strict=True)]
    assert metric.localisation_auc(h, mask).tolist() == pytest.approx(expected)
    even = metric.localisation_auc(torch.ones_like(h), mask)
    torch.testing.assert_close(even, torch.full_like(even, 0.5))


@pytest.mark.parametrize("name", metric.names("h", "mask"))
def test_a_map_that_is_the_mask_is_best(name):
    mask = make_mask()
    options = {"k": 9} if name == "topk_localisation" else {}
    one = metric.get(name, **options)
    assert one(mask.double(), mask).item() == 1
    assert one(mask.double(), mask.int()).item() == 1
    assert one(mask.float(), torch.zeros_like(mask)).isnan().all()


def test_unknown_localisations_are_nan():
    full = torch.ones(1, 9, 9, dtype=torch.bool)
    assert metric.localisation_auc(rand(1, 9, 9), full).isnan().all()
    assert metric.relevance_mass_accuracy(torch.zeros(1, 9, 9), full).isnan().all()


@pytest.mark.parametrize("name", metric.names("h", "mask"))
def test_bad_masks_are_refused(name):
    h = rand(1, 9, 9)
    for bad in (make_mask()[..., :8], 0.5 * make_mask(), [1, 0]):
        with pytest.raises(SurefootError, match="mask"):
            metric.REGISTRY[name](h, bad)
