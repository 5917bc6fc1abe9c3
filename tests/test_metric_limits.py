"""Where a metric says nothing it says so; where it says something, it hangs on no batch."""

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, explain, metric, models


def signals():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv1d(1, 8, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Flatten()),
            nn.Linear(64, 3),
        ).eval()
        return net, torch.randn(4, 1, 100)


@pytest.mark.parametrize("name", ["deletion", "morf", "comprehensiveness"])
def test_a_signal_has_its_own_mean_or_is_asked_for(name):
    net, inputs = signals()
    maps = explain.Gradient()(net, inputs, None, layout="signal").abs()
    with pytest.raises(SurefootError, match=r'layout="signal"'):
        metric.get(name)(net, inputs, maps)
    said = models.Classifier(net, layout="signal")
    own = metric.get(name, baseline=inputs.mean(2, keepdim=True))(net, inputs, maps)
    torch.testing.assert_close(metric.get(name)(said, inputs, maps), own)


def pictures():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 4)),
        ).eval()
        net[-1].weight.data.mul_(6)
        return net, torch.rand(3, 3, 8, 8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relative_input_stability", {}),
        ("relative_output_stability", {}),
        ("relative_representation_stability", {"layer": "2"}),
    ],
)
def test_relative_stabilities_depend_on_no_batch(name, options):
    net, inputs = pictures()
    measure = metric.get(name, samples=8, **options)
    whole = measure(explain.Gradient(), net, inputs)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(measure(explain.Gradient(), net, inputs, chunk=1), whole)
    one = torch.cat([measure(explain.Gradient(), net, some) for some in inputs.split(1)])
    torch.testing.assert_close(one, whole)


def test_an_explainer_that_knows_one_precision_is_measured_in_it():
    net, inputs = pictures()

    def gradient(model, points, target):
        return explain.Gradient()(net, points.float(), target).float()

    found = metric.relative_input_stability(gradient, net, inputs, samples=4)
    assert found.isfinite().all()


@pytest.mark.parametrize("name", ["comprehensiveness", "sufficiency", "monotonicity_correlation"])
def test_a_map_of_one_place_is_refused(name):
    net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs = torch.rand(4, 1)
    with pytest.raises(SurefootError, match="of one place"):
        metric.get(name)(net, inputs, inputs)


def test_huge_maps_are_measured_or_refused():
    small = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = small.flip(2)
    for scale in (1e30, 1e200):
        torch.testing.assert_close(
            metric.ssim(scale * small, scale * other), metric.ssim(small, other)
        )
    with pytest.raises(SurefootError, match=r"larger than torch.float32 holds"):
        metric.l2(torch.full((1, 4), 3e38), torch.full((1, 4), -3e38))


def test_counts_of_numpy_and_what_is_no_explainer():
    a, b = torch.rand(2, 3, 8), torch.rand(2, 3, 8)
    assert torch.equal(
        metric.topk_intersection(a, b, k=np.int64(5)), metric.topk_intersection(a, b, k=5)
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).eval()
    with pytest.raises(SurefootError, match=r"size=1\.0, expected a whole number of entries"):
        metric.faithfulness_correlation(net, a, a, size=1.0)
    with pytest.raises(SurefootError, match="'Gradient' is no explainer; expected an explainer"):
        metric.max_sensitivity("Gradient", net, a)
    with pytest.raises(SurefootError, match="cannot be called: too many positional arguments"):
        metric.max_sensitivity(lambda x: x, net, a)
