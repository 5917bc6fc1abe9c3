"""Similarity metrics: closed forms, scikit-image, and a loop for LENS."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from measured import get
from surefoot import SurefootError, metric


def pictures(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=generator, dtype=dtype)
    return a, (a + torch.rand(shape, generator=generator, dtype=dtype)) / 2


PAIRWISE = [name for name in metric.names("a", "b") if "lens" not in name]


@pytest.mark.parametrize("name", metric.names("a", "b"))
def test_a_map_is_like_itself(name):
    a, _ = pictures(3, 16, 16)
    best = 1.0 if metric.REGISTRY[name].higher_is_better else 0.0
    found = get(name)(a, a.clone())
    torch.testing.assert_close(found, torch.full_like(found, best), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PAIRWISE)
def test_symmetric(name):
    a, b = pictures(3, 16, 16)
    function = get(name)
    torch.testing.assert_close(function(a, b), function(b, a), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["kendall", "spearman", "pearson", "cosine", "ssim"])
def test_scale_of_raw_maps_does_not_matter(name):
    a, b = pictures(3, 16, 16)
    function = metric.get(name)
    torch.testing.assert_close(function(1e-6 * a, 1e-6 * b), function(a, b), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["kendall", "spearman", "topk_intersection"])
def test_rank_metrics_see_order_alone(name):
    a, b = pictures(3, 16, 16)
    function = get(name)
    assert torch.equal(function(a.exp(), b**3), function(a, b))


def test_pearson_is_cosine_of_centred_maps():
    a, b = pictures(3, 2, 8)
    centred = [x - x.mean((1, 2), keepdim=True) for x in (a, b)]
    torch.testing.assert_close(metric.pearson(a, b), metric.cosine(*centred))
    torch.testing.assert_close(metric.cosine(a, -2 * a), -torch.ones(3, dtype=a.dtype))


def test_cosine_of_a_zero_map_is_unknown_and_keeps_other_gradients_finite():
    a, b = pictures(2, 8, 8)
    a[0] = 0
    a.requires_grad_()
    found = metric.cosine(a, b)
    assert found[0].isnan()
    assert found[1].isfinite()
    (gradient,) = torch.autograd.grad(found[1], a)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["pearson", "cosine", "l2", "mass_centre_shift", "ssim"])
def test_differentiable(name):
    a, b = pictures(1, 11, 11)
    function = metric.get(name, **({"data_range": 1.0} if name == "ssim" else {}))
    assert torch.autograd.gradcheck(function, (a.requires_grad_(), b.requires_grad_()))


def test_sensitivity_is_differentiable():
    a, b = pictures(2, 6)
    x, y = pictures(2, 4, seed=1)
    assert torch.autograd.gradcheck(metric.sensitivity, (a.requires_grad_(), b, x, y))


@pytest.mark.parametrize("data_range", [1.0, 3.0])
def test_ssim_agrees_with_scikit_image(data_range):
    a, b = pictures(3, 20, 17)
    expected = [
        structural_similarity(
            x.numpy(),
            y.numpy(),
            data_range=data_range,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for x, y in zip(a, b, strict=True)
    ]
    found = metric.ssim(a, b, data_range=data_range)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=a.dtype), rtol=0, atol=1e-9)


def test_ssim_averages_channels_and_takes_the_span_of_each_pair():
    a, b = pictures(2, 3, 14, 14)
    each = torch.stack([metric.ssim(a[:, c], b[:, c], data_range=1.0) for c in range(3)])
    torch.testing.assert_close(metric.ssim(a, b, data_range=1.0), each.mean(0))
    for i in range(2):
        both = torch.cat([a[i], b[i]])
        span = float(both.max() - both.min())
        one = metric.ssim(a[[i]], b[[i]], data_range=span)
        torch.testing.assert_close(metric.ssim(a, b)[[i]], one)


def test_ssim_of_equal_constant_maps_is_one():
    a = torch.full((1, 12, 12), 0.3)
    assert metric.ssim(a, a).item() == pytest.approx(1)
    assert metric.ssim(torch.zeros_like(a), torch.zeros_like(a)).item() == 1


def test_l2_by_hand():
    a, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert metric.l2(a, b).tolist() == [5, 0]


def test_mass_centre_by_hand():
    a, b = torch.zeros(2, 4, 6), torch.zeros(2, 4, 6)
    a[0, 0, 0], a[0, 3, 5] = 1, 1  # centre (1.5, 2.5)
    b[0, 0, 5] = 7  # centre (0, 5)
    a[1, 1, 1] = 1
    shift = metric.mass_centre_shift(a, b)
    assert shift[0].item() == pytest.approx(math.hypot(1.5, 2.5))
    assert shift[1].isnan()
    with pytest.raises(SurefootError, match="negative"):
        metric.mass_centre_shift(-a, b)


def lens_by_loops(a, b, k, window):
    """LENS-recall: pixels of b's top k that have one of a's top k in their window."""
    tops = []
    for x in (a, b):
        order = torch.argsort(x.flatten(), descending=True, stable=True)[:k]
        tops.append([divmod(int(i), x.shape[1]) for i in order])
    near = [any(max(abs(r - s), abs(c - d)) <= window for s, d in tops[0]) for r, c in tops[1]]
    return sum(near) / k


@pytest.mark.parametrize("window", [0, 1, 2])
def test_lens_by_loops(window):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 9, (4, 7, 5), generator=generator).float() for _ in range(2))
    recall = metric.lens_recall(a, b, 6, window=window)
    precision = metric.lens_precision(a, b, 6, window=window)
    for i in range(4):
        assert recall[i].item() == pytest.approx(lens_by_loops(a[i], b[i], 6, window))
        assert precision[i].item() == pytest.approx(lens_by_loops(b[i], a[i], 6, window))


def test_lens_windows_do_not_wrap_around_rows():
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[0, 0, 3] = b[0, 1, 0] = 1  # neighbours in the flat order, a row's length apart
    assert metric.lens_recall(a, b, 1).item() == 0
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[0, 0, 0] = b[0, 0, 1] = 1  # flat index 0 counts
    assert metric.lens_recall(a, b, 1).item() == 1
    assert metric.lens_precision(a, b, 1).item() == 1


def test_lens_with_no_window_is_the_intersection_and_grows_with_it():
    a, b = pictures(4, 9, 9)
    narrow = metric.lens_recall(a, b, 10, window=0)
    assert torch.equal(narrow, metric.topk_intersection(a, b, 10))
    assert (metric.lens_recall(a, b, 10, window=1) >= narrow).all()
    assert torch.equal(metric.lens_recall(a, b, 10, window=8), torch.ones(4, dtype=a.dtype))
