"""Intervals cover at their rate, tests are the named ones, comparisons are of pairs."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import surefoot
from surefoot import explain
from surefoot.auditing import _statistics as statistics

pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")


def interval(values, confidence=0.95, resamples=500, seed=0):
    return statistics.interval(np.asarray(values, dtype=float), confidence, resamples, seed)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("law", ["normal", "uniform", "binomial"])
def test_intervals_cover_the_true_mean_at_their_rate(confidence, law):
    rng = np.random.default_rng(0)
    draws = {
        "normal": (rng.normal(3, 2, (300, 50)), 3),
        "uniform": (rng.uniform(0, 1, (300, 50)), 0.5),
        "binomial": (rng.binomial(10, 0.7, (300, 50)) / 10, 0.7),
    }
    samples, truth = draws[law]
    found = [interval(row, confidence, resamples=400, seed=i) for i, row in enumerate(samples)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    spread = math.sqrt(confidence * (1 - confidence) / 300)
    # An interval by bootstrap of 50 samples is known to be about a hundredth too narrow.
    assert abs(covered - (confidence - 0.01)) < 3 * spread


def test_intervals_shrink_with_the_root_of_the_number_and_grow_with_confidence():
    rng = np.random.default_rng(1)
    values = rng.normal(size=1600)
    wide, narrow = interval(values[:100]), interval(values)
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(4, rel=0.25)
    sure = interval(values, 0.999)
    assert sure.low < narrow.low < narrow.mean < narrow.high < sure.high


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(-3, 3))
def test_intervals_move_and_hold_the_mean_whatever_the_values(values, shift):
    one = interval(values, resamples=50)
    assert one.mean == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9


def test_degenerate_intervals():
    assert interval([0.5] * 9) == (0.5, 0.5, 0.5)
    assert np.array_equal(interval([2.0]), (2, np.nan, np.nan), equal_nan=True)
    assert np.array_equal(interval([]), (np.nan,) * 3, equal_nan=True)
    assert interval([1.0, math.inf]).mean == math.inf
    nearly = interval([1.0] * 99 + [0.0])
    assert 0.9 < nearly.low < nearly.mean < nearly.high <= 1


def test_intervals_are_scipys_and_depend_on_the_seed_alone():
    values = np.random.default_rng(2).exponential(size=40)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=500, rng=np.random.default_rng(5), method="BCa"
    ).confidence_interval
    found = interval(values, seed=5)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert interval(values, seed=5) == found
    assert interval(values, seed=6) != found


def test_many_samples_take_the_percentile_interval():
    values = np.random.default_rng(2).exponential(size=2001)
    assert interval(values)[1:] == statistics._bootstrap(values, 0.95, 500, 0, "percentile")
    assert interval(values[:2000])[1:] == statistics._bootstrap(values[:2000], 0.95, 500, 0, "BCa")


def test_p_is_that_of_the_signed_rank_test():
    # Six positive differences without ties: 2 of the 64 signs are as extreme.
    assert statistics.paired_p(np.arange(1.0, 7)) == pytest.approx(2 / 64)
    assert statistics.paired_p(np.zeros(5)) == 1
    assert math.isnan(statistics.paired_p(np.array([])))


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9).filter(any))
def test_p_is_the_share_of_signs_that_are_as_far_from_even(differences):
    values = np.array(differences, dtype=float)
    nonzero = values[values != 0]
    ranks = stats.rankdata(np.abs(values))[values != 0]
    signs = np.array(list(itertools.product([0, 1], repeat=len(nonzero))))
    sums, found = signs @ ranks, ranks[nonzero > 0].sum()
    tail = min((sums <= found + 1e-9).mean(), (sums >= found - 1e-9).mean())
    assert statistics.paired_p(values) == pytest.approx(min(1, 2 * tail))


def test_p_is_scipys():
    rng = np.random.default_rng(4)
    for values in (rng.normal(0.3, size=30), np.array([1.0, 2, 2, -1, 3, 0, 4, 5, -2, 6])):
        reference = stats.wilcoxon(values, zero_method="pratt").pvalue
        assert statistics.paired_p(values) == pytest.approx(reference)


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(3)
    found = [statistics.paired_p(row) for row in rng.normal(size=(400, 30))]
    assert stats.kstest(found, "uniform").pvalue > 0.01


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=8))
def test_holm_is_the_step_down_procedure(p):
    corrected = statistics.holm(p)
    known = sorted(value for value in p if not math.isnan(value))
    for value, found in zip(p, corrected, strict=True):
        if math.isnan(value):
            assert math.isnan(found)
            continue
        # Rejected at level a as long as each smaller p stands its own test.
        steps = [q * (len(known) - i) for i, q in enumerate(known) if q <= value]
        assert found == pytest.approx(min(1, max(steps)))


@pytest.fixture(scope="module")
def result():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    x = torch.rand(40, 6)
    explainers = {
        "a": explain.Gradient(),
        "same": explain.Gradient(),
        "b": explain.InputXGradient(),
    }

    def best(h):
        return torch.where(h[:, 0] > h[:, 1], h.amax(1), torch.nan)

    return surefoot.audit(
        net,
        (x, net(x).argmax(1)),
        explainers=explainers,
        attacks={"topk": surefoot.attack.TopK(surefoot.attack.Linf(0.2, steps=3), k=2)},
        metrics={"gini": "gini", "l2": "l2", "best": best},
        draws=2,
    )


def test_identical_explainers_differ_by_exactly_nothing(result):
    table = result.compare("a", "same")
    assert len(table) == 8  # three attacks, clean among them, and what each is measured by
    assert (table[["difference", "low", "high", "better", "worse"]].fillna(0) == 0).to_numpy().all()
    assert (table[["p", "p_holm"]] == 1).to_numpy().all()


def test_comparisons_are_of_pairs(result):
    frame = result.frame().query("attack == 'topk' and metric == 'gini'")
    wide = frame.pivot_table(index="sample", columns="explainer", values="value")
    difference = (wide["a"] - wide["b"]).to_numpy()
    table = result.compare("a", "b", resamples=300, seed=4)
    row = table.query("attack == 'topk' and metric == 'gini'").iloc[0]
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((wide["a"].mean(), wide["b"].mean()))
    low, high = interval(difference, resamples=300, seed=4)[1:]
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["better"] == pytest.approx((difference > 0).mean())
    assert row["worse"] == pytest.approx((difference < 0).mean())
    assert row["p"] == pytest.approx(statistics.paired_p(difference))
    corrected = statistics.holm(table["p"].tolist())
    assert table["p_holm"].tolist() == pytest.approx(corrected, nan_ok=True)


def test_lower_is_better_where_the_metric_says_so(result):
    row = result.compare("topk", "random signs").query("explainer == 'a' and metric == 'l2'")
    assert row["difference"].item() > 0
    assert row["worse"].item() > row["better"].item()
    mirrored = result.compare("random signs", "topk").query("explainer == 'a' and metric == 'l2'")
    assert mirrored["difference"].item() == pytest.approx(-row["difference"].item())
    assert mirrored["better"].item() == row["worse"].item()


def test_without_a_partner_the_control_is_compared_with(result):
    assert result.compare("topk").equals(result.compare("topk", "random signs"))
    assert result.compare("a").equals(result.compare("a", "random map"))


def test_nan_is_dropped_and_counted(result):
    frame = result.frame().query("explainer == 'a' and attack == 'clean' and metric == 'best'")
    missing = int(frame["value"].isna().sum())
    assert 0 < missing < 40
    row = result.summary(resamples=20)
    row = row.query("explainer == 'a' and attack == 'clean' and metric == 'best'").iloc[0]
    assert (row["n"], row["dropped"]) == (40 - missing, missing)
    assert row["mean"] == pytest.approx(frame["value"].mean())
    assert row["low"] < row["mean"] < row["high"]


def test_the_summary_states_floor_and_ceiling(result):
    table = result.summary(resamples=20).set_index(["explainer", "attack", "metric"])
    row = table.loc[("a", "topk", "l2")]
    assert row["floor"] == table.loc[("a", "random signs", "l2"), "mean"]
    assert row["ceiling"] == 0
    assert not row["higher_is_better"]
    assert math.isnan(table.loc[("a", "clean", "gini"), "ceiling"])
    assert math.isnan(table.loc[("a", "clean", "gini"), "floor"])
    assert table.loc[("a", "topk", "best"), "higher_is_better"] is None
