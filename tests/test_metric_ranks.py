"""Rank metrics against scipy, ties included, and against counting by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings, strategies as st

from surefoot import metric
from surefoot.maps import average, ordinal, top
from surefoot.metric import _kendall

SHAPES = [(5, 2), (3, 17), (4, 64), (2, 3, 9, 11), (2, 1000)]


def maps(shape, ties, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(shape, generator=generator, dtype=dtype)
    b = a + torch.randn(shape, generator=generator, dtype=dtype)
    return ((a * 2).round(), (b * 2).round()) if ties else (a, b)


def by_scipy(function, a, b):
    """scipy's statistic for each sample; NaN for constant maps, about which it warns."""
    pairs = zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True)
    each = [function(x, y).statistic if np.ptp(x) and np.ptp(y) else np.nan for x, y in pairs]
    return torch.tensor(each, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ties", [False, True])
def test_kendall_agrees_with_scipy(shape, ties):
    a, b = maps(shape, ties)
    expected = by_scipy(scipy.stats.kendalltau, a, b)
    torch.testing.assert_close(metric.kendall(a, b), expected, rtol=0, atol=1e-12, equal_nan=True)
    counted = _kendall.tau_b(a.flatten(1), b.flatten(1))
    torch.testing.assert_close(counted, expected, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ties", [False, True])
def test_spearman_agrees_with_scipy(shape, ties):
    a, b = maps(shape, ties)
    expected = by_scipy(scipy.stats.spearmanr, a, b)
    found = metric.spearman(a, b)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", ["kendall", "spearman", "pearson"])
def test_single_precision_agrees_with_scipy(name):
    a, b = maps((3, 5000), ties=True, dtype=torch.float32)
    function = {"kendall": "kendalltau", "spearman": "spearmanr", "pearson": "pearsonr"}[name]
    expected = by_scipy(getattr(scipy.stats, function), a.double(), b.double())
    found = metric.get(name)(a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=40))
def test_rank_correlations_by_counting_pairs(pairs):
    a, b = torch.tensor(pairs, dtype=torch.float64).T[:, None]
    signs = [(x[:, :, None] - x[:, None]).sign()[0] for x in (a, b)]
    scale = (signs[0].abs().sum() * signs[1].abs().sum()).sqrt()
    tau = (signs[0] * signs[1]).sum() / scale
    for found in (metric.kendall(a, b), _kendall.tau_b(a, b)):
        torch.testing.assert_close(found[0], tau, rtol=0, atol=1e-12, equal_nan=True)
    ranks = [torch.from_numpy(scipy.stats.rankdata(x[0]) - 1) for x in (a, b)]
    for x, rank in zip((a, b), ranks, strict=True):
        assert torch.equal(average(x)[0], rank)


def test_kendall_works_without_scipy(monkeypatch):
    a, b = maps((2, 50), ties=True)
    expected = metric.kendall(a, b)
    monkeypatch.setattr(_kendall, "_scipy_stats", lambda: None)
    torch.testing.assert_close(metric.kendall(a, b), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("entries", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_inversions_by_counting(entries):
    generator = torch.Generator().manual_seed(entries)
    rank = torch.stack([torch.randperm(entries, generator=generator) for _ in range(6)]).int()
    later = torch.ones(entries, entries).triu(1).bool()
    expected = ((rank[:, :, None] > rank[:, None]) & later).sum((1, 2))
    assert torch.equal(_kendall.inversions(rank), expected)


@pytest.mark.parametrize("name", ["kendall", "spearman", "pearson"])
def test_constant_maps_have_no_correlation(name):
    constant = torch.full((1, 1001), 0.1, dtype=torch.float64)
    assert (constant - constant.mean()).abs().max() > 0  # rounding alone would give it variation
    varied = torch.rand(1, 1001)
    function = metric.get(name)
    for pair in ((constant, varied), (varied, constant), (constant, constant)):
        assert function(*pair).isnan().all()


def test_correlations_do_not_drown_small_variation():
    a, b = maps((2, 300), ties=False)
    small = 1e-30 * a
    torch.testing.assert_close(
        metric.pearson(small.float(), b), metric.pearson(a, b).float().double(), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(metric.cosine(1e-200 * a, b), metric.cosine(a, b))


def test_ordinal_ranks_put_the_first_of_equals_first():
    rows = torch.tensor([[1.0, 3.0, 3.0, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert ordinal(rows).tolist() == [[2, 0, 1, 4, 3], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize("k", [1, 2, 5, 19, 20])
def test_top_is_the_first_of_the_ordinal_ranks(k):
    rows = torch.randint(0, 4, (50, 20), generator=torch.Generator().manual_seed(k)).float()
    assert torch.equal(top(rows, k), ordinal(rows) < k)


def test_topk_intersection_by_sets():
    a, b = maps((6, 3, 8, 8), ties=True)
    for k in (1, 10, 192):
        sets = [
            [set(np.argsort(-x, kind="stable")[:k]) for x in y.flatten(1).numpy()] for y in (a, b)
        ]
        expected = [len(x & y) / k for x, y in zip(*sets, strict=True)]
        assert metric.topk_intersection(a, b, k).tolist() == pytest.approx(expected, abs=0)


def test_k_below_one_is_a_share():
    a, b = maps((4, 50), ties=False)
    assert torch.equal(metric.topk_intersection(a, b, 0.2), metric.topk_intersection(a, b, 10))
