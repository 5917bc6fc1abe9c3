"""From attributions to one number a place, and to a picture."""

import numpy as np
import pytest
import torch

from surefoot import SurefootError
from surefoot.explain import heatmap, reduce

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(3, 2, 5, 4, generator=GENERATOR)
TOKENS = torch.randn(3, 5, 4, generator=GENERATOR)
RECORDS = torch.randn(3, 6, generator=GENERATOR)
VOLUMES = torch.randn(2, 3, 4, 5, 6, generator=GENERATOR)
NUMPY = {
    "sum_abs": lambda a, axis: np.abs(a).sum(axis),
    "max_abs": lambda a, axis: np.abs(a).max(axis),
    "mean_abs": lambda a, axis: np.abs(a).mean(axis),
    "sum": lambda a, axis: a.sum(axis),
    "mean": lambda a, axis: a.mean(axis),
}


@pytest.mark.parametrize("reduction", NUMPY)
def test_reduce_against_numpy(reduction):
    by_hand = NUMPY[reduction]
    cases = ((IMAGES, 1, None), (TOKENS, 2, "tokens"), (TOKENS, 1, "signal"), (VOLUMES, 1, None))
    for values, axis, layout in cases:
        result = reduce(values, reduction, layout).numpy()
        assert np.allclose(result, by_hand(values.numpy(), axis), atol=1e-6)
    expected = RECORDS.abs() if reduction.endswith("abs") else RECORDS
    assert torch.equal(reduce(RECORDS, reduction), expected)


@pytest.mark.parametrize(
    ("values", "reduction", "says"),
    [
        (IMAGES, "max", "choose one of"),
        (torch.zeros(3), "sum", r"got \(3,\)"),
        (torch.zeros(1, 1, 1, 1, 1, 1), "sum", "expected attributions"),
        ([1.0], "sum", "got list"),
        (TOKENS, "sum", r"\(3, 5, 4\): a signal .* or embedded tokens .*layout=\"signal\""),
    ],
)
def test_reduce_refuses(values, reduction, says):
    with pytest.raises(SurefootError, match=says):
        reduce(values, reduction)


@pytest.mark.parametrize("percentile", [50, 95, 99.5, 100])
@pytest.mark.parametrize(
    ("values", "layout"),
    [(IMAGES, None), (TOKENS, "tokens"), (TOKENS, "signal"), (VOLUMES, None), (RECORDS, None)],
    ids=["images", "tokens", "signals", "volumes", "records"],
)
def test_heatmap_by_its_steps_one_sample_at_a_time(values, layout, percentile):
    result = heatmap(values, percentile, layout=layout)
    reduced = reduce(values, "max_abs", layout)
    for row, given in zip(result.numpy(), reduced.numpy(), strict=True):
        capped = np.minimum(given, np.percentile(given, percentile))
        scaled = (capped - capped.min()) / (capped.max() - capped.min())
        assert np.allclose(row, scaled, atol=1e-6)
    assert result.min() == 0
    assert result.max() == 1
    assert torch.equal(heatmap(values[1:2], percentile, layout=layout), result[1:2])
    assert torch.allclose(heatmap(-7 * values, percentile, layout=layout), result, atol=1e-6)


def test_constant_maps_are_legal():
    for value in (0.0, 3.0, -1e-30):
        constant = torch.full((2, 3, 4, 4), value)
        assert torch.equal(heatmap(constant), torch.zeros(2, 4, 4))


def test_a_map_with_few_places_survives_winsorising():
    lonely = torch.zeros(1, 1, 20, 20)
    lonely[0, 0, 3, 4] = -2.0
    lonely[0, 0, 5, 6] = 1.0
    picture = heatmap(lonely)
    assert picture[0, 3, 4] == 1
    assert picture[0, 5, 6] == 0.5
    assert picture.count_nonzero() == 2


def test_large_maps_have_a_quantile():
    # torch.quantile stops at 16 million elements.
    big = torch.arange(17_000_000, dtype=torch.float32).view(1, -1)
    assert heatmap(big, 50).eq(1).float().mean() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("percentile", [0, -1, 101, float("nan")])
def test_percentiles_outside_refuse(percentile):
    with pytest.raises(SurefootError, match="percentile"):
        heatmap(IMAGES, percentile)
