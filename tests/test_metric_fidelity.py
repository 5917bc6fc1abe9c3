"""Fidelity metrics on linear models in closed form, against loops, and against scipy's solver."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import nn
from torch.nn import functional

from measured import rand
from surefoot import SurefootError, SurefootWarning, metric
from surefoot.metric import _baselines, _road
from surefoot.metric._blur import blur


class Linear(nn.Module):
    """Logits (w . x, 0) with one weight an entry."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", weight.double())
        self.eval()

    def forward(self, x):
        first = (x * self.weight).flatten(1).sum(1)
        return torch.stack([first, torch.zeros_like(first)], 1)


def make_net(channels=2, side=8):
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (side - 2) ** 2, 3)]
    return nn.Sequential(*layers).double().requires_grad_(False).eval()


def probability(model, x, target):
    with torch.no_grad():
        return model(x).softmax(1)[torch.arange(len(x)), target]


def test_saliency_fidelity_by_hand():
    model, x, h = make_net(), rand(4, 2, 8, 8), rand(4, 8, 8, seed=1)
    target = torch.tensor([0, 1, 2, 0])
    seen = probability(model, x * h[:, None], target)
    dimmed = probability(model, x * h.mean((1, 2)).view(-1, 1, 1, 1), target)
    plain = metric.saliency_fidelity(model, x, h, target)
    torch.testing.assert_close(plain, -seen.log())
    assert torch.equal(plain, metric.saliency_fidelity(model, x, h, target, denominator="one"))
    ratio = metric.saliency_fidelity(model, x, h, target, denominator="mean")
    torch.testing.assert_close(ratio, -(seen / dimmed).log())


def test_saliency_fidelity_of_constant_maps():
    model, x = make_net(), rand(3, 2, 8, 8)
    for value in (0.0, 0.3, 1.0):
        h = torch.full((3, 8, 8), value, dtype=x.dtype)
        ratio = metric.saliency_fidelity(model, x, h, denominator="mean")
        torch.testing.assert_close(ratio, torch.zeros_like(ratio))
    kept = metric.saliency_fidelity(model, x, torch.ones_like(x))
    torch.testing.assert_close(kept, -model(x).softmax(1).amax(1).log().detach())


def test_saliency_fidelity_does_not_underflow():
    model = Linear(torch.full((1, 1, 2, 2), 1000.0)).float()
    x, h = torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2)
    assert metric.saliency_fidelity(model, x, h, 1).item() == pytest.approx(4000)


def test_saliency_fidelity_refuses_unscaled_maps_and_unknown_readings():
    model, x = make_net(), rand(2, 2, 8, 8)
    with pytest.raises(SurefootError, match=r"expected maps in \[0, 1\]"):
        metric.saliency_fidelity(model, x, 2 * x[:, 0])
    with pytest.raises(SurefootError, match="denominator"):
        metric.saliency_fidelity(model, x, x[:, 0], denominator="two")


def curve_by_loops(model, x, h, target, end, order, steps):
    """One sample, one place after another."""
    ranked = np.argsort(-h.numpy().ravel() if order == "morf" else h.numpy().ravel(), kind="stable")
    entries, now, points = h.numel(), x.clone(), []
    for step in range(steps + 1):
        for place in ranked[: round(step * entries / steps)]:
            row, column = divmod(int(place), h.shape[1])
            now[:, row, column] = end[:, row, column]
        points.append(probability(model, now[None], target))
    return torch.cat(points)


@pytest.mark.parametrize("order", ["morf", "lerf"])
@pytest.mark.parametrize("reveal", [False, True])
def test_curves_by_loops(order, reveal):
    model, x = make_net(), rand(3, 2, 8, 8)
    h = (rand(3, 8, 8, seed=1) * 6).round()  # many ties
    target = torch.tensor([0, 1, 2])
    black = torch.zeros_like(x)
    found = metric.perturbation_curve(
        model, x, h, target, order=order, baseline="black", steps=16, reveal=reveal
    )
    start, end = (black, x) if reveal else (x, black)
    for i in range(3):
        expected = curve_by_loops(model, start[i], h[i], target[i : i + 1], end[i], order, 16)
        torch.testing.assert_close(found.score[i], expected)
    assert found.share.tolist() == pytest.approx([s / 16 for s in range(17)])


def test_curves_by_regions_by_loops():
    model, x, h = make_net(), rand(2, 2, 8, 8), rand(2, 8, 8, seed=1)
    found = metric.perturbation_curve(model, x, h, 0, baseline="black", region=3)
    assert found.share.tolist() == pytest.approx([s / 9 for s in range(10)])  # 3 x 3, cut at 8
    for i in range(2):
        boxes = [(slice(r, r + 3), slice(c, c + 3)) for r in (0, 3, 6) for c in (0, 3, 6)]
        boxes.sort(key=lambda box: -float(h[i][box].sum()))
        now = x[i].clone()
        expected = [probability(model, now[None], 0)]
        for rows, columns in boxes:
            now[:, rows, columns] = 0
            expected.append(probability(model, now[None], 0))
        torch.testing.assert_close(found.score[i], torch.cat(expected))


def test_areas_of_a_linear_model_in_closed_form():
    weight = torch.tensor([[[8.0, 4.0], [2.0, 1.0]]])
    model, x = Linear(weight), torch.ones(1, 1, 2, 2, dtype=torch.float64)
    options = {"baseline": "black", "score": "logit"}
    h = weight  # the logit falls 15, 7, 3, 1, 0 most relevant first and 15, 14, 12, 8, 0 last
    assert metric.deletion(model, x, h, 0, **options).item() == pytest.approx(18.5 / 4)
    assert metric.insertion(model, x, h, 0, **options).item() == pytest.approx(41.5 / 4)
    assert metric.deletion(model, x, -h, 0, **options).item() == pytest.approx(41.5 / 4)
    assert metric.morf(model, x, h, 0, **options).item() == pytest.approx((8 + 12 + 14 + 15) / 5)
    assert metric.lerf(model, x, h, 0, **options).item() == pytest.approx((1 + 3 + 7 + 15) / 5)
    half = metric.morf(model, x, h, 0, share=0.5, **options).item()
    assert half == pytest.approx((8 + 12) / 3)


def test_area_of_a_part_is_a_mean_height():
    model, x, h = make_net(), rand(2, 2, 8, 8), rand(2, 8, 8, seed=1)
    with pytest.warns(SurefootWarning, match="2 of 2 inputs hold everywhere, so that removing"):
        flat = metric.perturbation_curve(model, x, h, 0, baseline=lambda images: images, share=0.5)
    torch.testing.assert_close(flat.area(), probability(model, x, 0))
    assert flat.aopc().abs().max() < 1e-12


@pytest.mark.parametrize("name", ["morf", "lerf", "deletion", "insertion"])
def test_the_true_map_beats_the_random_control(name):
    weight = rand(1, 6, 6, seed=3) ** 4
    model, x = Linear(weight), torch.ones(3, 1, 6, 6, dtype=torch.float64)
    h = weight.expand(3, 6, 6)
    one = metric.get(name, baseline="black", score="logit")
    true = one(model, x, h, 0)
    controls = torch.stack([one(model, x, metric.random_map(h, seed=s), 0) for s in range(20)])
    better = true > controls if one.higher_is_better else true < controls
    assert better.all()
    assert controls.std(0).min() > 0  # seeds differ
    assert (controls == controls[:, :1]).all()  # samples share the order


def test_random_map_depends_on_the_seed_alone():
    h = torch.zeros(3, 4, 5)
    assert torch.equal(metric.random_map(h)[0], metric.random_map(h[:1])[0])
    assert not torch.equal(metric.random_map(h), metric.random_map(h, seed=1))
    assert metric.random_map(h).flatten(1)[0].unique().numel() == 20


def test_named_baselines():
    x = rand(2, 3, 9, 9)
    resolve = _baselines.resolve
    assert torch.equal(resolve("mean", x), x.mean((2, 3), keepdim=True).expand_as(x))
    assert torch.equal(resolve("black", x), torch.zeros_like(x))
    noise = resolve("noise", x)
    assert torch.equal(noise[0], noise[1])
    assert noise.min() >= 0
    assert noise.max() < 1
    assert torch.equal(resolve(metric.noise(0), x), noise)
    assert not torch.equal(resolve(metric.noise(1), x), noise)
    far = resolve(metric.noise(0, 2.0, 4.0), x)
    torch.testing.assert_close(far, 2 + 2 * noise)
    assert torch.equal(resolve(0.5, x), torch.full_like(x, 0.5))
    tokens = rand(2, 5, 3)
    for layout, axis in (("tokens", 1), ("signal", 2)):
        mean = tokens.mean(axis, keepdim=True).expand_as(tokens)
        assert torch.equal(resolve("mean", tokens, layout), mean)
    with pytest.raises(SurefootError, match="Say which"):
        resolve("mean", tokens)
    records = rand(2, 5)
    assert torch.equal(resolve("mean", records), records.mean(1, keepdim=True).expand_as(records))


def test_blur_baseline_by_convolution():
    x = rand(2, 3, 9, 14)
    place = torch.arange(-5, 6).double()
    weight = torch.exp(-(place**2) / 50)
    kernel = torch.outer(weight, weight) / weight.sum() ** 2
    padded = functional.pad(x, [5] * 4, mode="replicate")
    expected = functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)
    torch.testing.assert_close(_baselines.resolve("blur", x), expected)
    inner = functional.conv2d(x[..., :12], torch.ones(3, 1, 3, 3).double() / 9, groups=3)
    torch.testing.assert_close(blur(x[..., :12], 3, 1e9, edges=False), inner)


def test_blur_of_a_small_image_keeps_it_constant():
    x = torch.full((1, 1, 3, 2), 0.7)
    torch.testing.assert_close(_baselines.resolve("blur", x), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "grey"}, "choose one of .'mean', 'blur', 'black', 'noise'"),
        ({"baseline": torch.zeros(7)}, "broadcast"),
        ({"baseline": float("nan")}, "NaN"),
        ({"steps": 65}, "steps=65, expected 1 to 64"),
        ({"steps": 0}, "steps=0"),
        ({"share": 0.0}, "share"),
        ({"region": 9}, "region=9"),
        ({"order": "random"}, "order"),
    ],
)
def test_bad_curve_options_are_refused(options, message):
    model, x = make_net(), rand(2, 2, 8, 8)
    with pytest.raises(SurefootError, match=message):
        metric.perturbation_curve(model, x, x[:, 0], **options)


def test_blur_of_records_is_refused():
    model = nn.Linear(4, 2).double().eval()
    x = rand(2, 4)
    with pytest.raises(SurefootError, match="blur"):
        metric.insertion(model, x, x)


def test_comprehensiveness_and_sufficiency_by_hand():
    weight = torch.tensor([[[8.0, 4.0], [2.0, 1.0]]])
    model, x = Linear(weight), torch.ones(1, 1, 2, 2, dtype=torch.float64)
    options = {"baseline": "black", "score": "logit", "shares": (0.25, 0.5)}
    assert metric.comprehensiveness(model, x, weight, 0, **options).item() == (8 + 12) / 2
    assert metric.sufficiency(model, x, weight, 0, **options).item() == (7 + 3) / 2
    with pytest.raises(SurefootError, match="shares"):
        metric.sufficiency(model, x, weight, 0, shares=(0.5, 1.0))


def test_text_maps_cover_whole_tokens():
    class Bag(nn.Module):
        def forward(self, x):
            return x.sum(1)

    x, h = rand(2, 4, 3), torch.tensor([[1.0, 2.0, 3.0, 4.0]]).expand(2, 4)
    found = metric.comprehensiveness(
        Bag().eval(), x, h, 1, shares=[0.5], baseline="black", score="logit"
    )
    torch.testing.assert_close(found, x[:, 2:, 1].sum(1))


def test_faithfulness_correlation_of_a_linear_model_is_one():
    weight = rand(2, 5, 5, seed=2) - 0.5
    model, x = Linear(weight), rand(3, 2, 5, 5)
    found = metric.faithfulness_correlation(model, x, x * weight, 0, size=10)
    torch.testing.assert_close(found, torch.ones_like(found))
    opposed = metric.faithfulness_correlation(model, x, -x * weight, 0, size=10)
    torch.testing.assert_close(opposed, -torch.ones_like(found))
    by_pixel = metric.faithfulness_correlation(model, x, (x * weight).sum(1), 0, size=10)
    torch.testing.assert_close(by_pixel, torch.ones_like(found))


def test_faithfulness_correlation_by_loops():
    model, x, a = make_net(), rand(2, 2, 8, 8), rand(2, 8, 8, seed=1)
    generator = torch.Generator().manual_seed(0)
    subsets = torch.rand(12, 8, 8, generator=generator) < 0.2
    found = metric.faithfulness_correlation(model, x, a, 1, subsets=subsets, baseline="mean")
    for i in range(2):
        sums = [float(a[i][s].sum()) for s in subsets]
        mean = x[i].mean((1, 2), keepdim=True)
        drops = [
            float((model(x[[i]]) - model(torch.where(s, mean, x[i])[None]))[0, 1]) for s in subsets
        ]
        assert found[i].item() == pytest.approx(np.corrcoef(sums, drops)[0, 1])
    with pytest.raises(SurefootError, match="bool tensor"):
        metric.faithfulness_correlation(model, x, a, 1, subsets=subsets.float())


def test_monotonicity_correlation_by_loops():
    model, x, a = make_net(), rand(2, 2, 8, 8), rand(2, 8, 8, seed=1)
    noise = rand(3, 2, 8, 8, seed=5)
    found = metric.monotonicity_correlation(model, x, a, 1, groups=5, noise=noise)
    for i in range(2):
        ranked = a[i].flatten().argsort()
        sums, losses = [], []
        for group in np.array_split(ranked.numpy(), 5):
            gone = torch.zeros(64, dtype=torch.bool)
            gone[torch.from_numpy(group)] = True
            gone = gone.view(8, 8)
            changed = probability(model, torch.where(gone, noise, x[i]), 1)
            sums.append(float(a[i][gone].sum()))
            losses.append(float((changed - probability(model, x[[i]], 1)).square().mean()))
        assert found[i].item() == pytest.approx(scipy.stats.spearmanr(sums, losses).statistic)


def test_infidelity_by_loops_and_of_a_linear_model():
    model, x, a = make_net(), rand(2, 2, 8, 8), rand(2, 2, 8, 8, seed=1)
    noise = rand(4, 2, 8, 8, seed=2) - 0.5
    found = metric.infidelity(model, x, a, 1, noise=noise)
    fitted = metric.infidelity(model, x, a, 1, noise=noise, rescale=True)
    for i in range(2):
        dots = torch.stack([(a[i] * n).sum() for n in noise])
        drops = torch.cat([(model(x[[i]]) - model((x[i] - n)[None]))[:, 1] for n in noise]).detach()
        assert found[i].item() == pytest.approx(float((dots - drops).square().mean()))
        best = np.linalg.lstsq(dots[:, None].numpy(), drops.numpy(), rcond=None)
        assert fitted[i].item() == pytest.approx(best[1][0] / 4)
    weight = rand(1, 2, 8, 8, seed=3)
    exact = metric.infidelity(Linear(weight), x, weight.expand_as(x), 0)
    assert exact.abs().max() < 1e-20
    zero = metric.infidelity(model, x, torch.zeros_like(x), 1, noise=noise, rescale=True)
    assert torch.equal(zero, metric.infidelity(model, x, torch.zeros_like(x), 1, noise=noise))
    with pytest.raises(SurefootError, match="one shape"):
        metric.infidelity(model, x, a[:, 0], 1)


def impute_by_scipy(image, removed):
    """Each removed pixel equals the weighted mean of its neighbours, by a direct sparse solve."""
    places = {tuple(p): i for i, p in enumerate(np.argwhere(removed))}
    matrix, right = scipy.sparse.lil_matrix((len(places),) * 2), np.zeros((len(places), len(image)))
    for (r, c), i in places.items():
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                there = (r + dr, c + dc)
                inside = 0 <= there[0] < image.shape[1] and 0 <= there[1] < image.shape[2]
                if (dr, dc) == (0, 0) or not inside:
                    continue
                weight = 1 / 12 if dr and dc else 1 / 6
                matrix[i, i] += weight
                if there in places:
                    matrix[i, places[there]] -= weight
                else:
                    right[i] += weight * image[(slice(None), *there)]
    solved = scipy.sparse.linalg.spsolve(matrix.tocsc(), right).reshape(right.shape)
    filled = image.copy()
    for (r, c), i in places.items():
        filled[:, r, c] = solved[i]
    return filled


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_imputation_agrees_with_a_direct_solve(share):
    x = rand(3, 2, 9, 11)
    removed = rand(3, 1, 9, 11, seed=1) < share
    removed[0, 0, :8, :10] = True  # one large hole
    found = _road.impute(x, removed)
    for i in range(3):
        expected = impute_by_scipy(x[i].numpy(), removed[i, 0].numpy())
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=0, atol=1e-10)
    single = _road.impute(x.float(), removed)
    torch.testing.assert_close(single.double(), found, rtol=0, atol=1e-4)


def test_imputation_of_a_constant_image_is_the_image():
    x = torch.full((1, 1, 6, 6), 0.4, dtype=torch.float64)
    removed = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    removed[..., 5, 5] = False
    torch.testing.assert_close(_road.impute(x, removed), x)
    assert torch.equal(_road.impute(x, torch.zeros_like(removed)), x)


def test_road_by_hand():
    model, x, h = make_net(), rand(3, 2, 8, 8), rand(3, 8, 8, seed=1)
    shares, noise = (0.25, 0.75), torch.randn(2, 2, 8, 8).double()
    target = torch.tensor([0, 1, 2])
    found, chance = [
        metric.road(model, x, h, target, shares=shares, noise=noise, std=0.1, score=score)
        for score in ("accuracy", "probability")
    ]
    right, total = torch.zeros(3), torch.zeros(3)
    for share, draw in zip(shares, noise, strict=True):
        least = h.flatten(1).sort(1, descending=True).values[:, round(64 * share) - 1]
        removed = (h >= least.view(-1, 1, 1))[:, None]
        filled = _road.impute(x, removed) + 0.1 * draw * removed
        right += model(filled).argmax(1) == target
        total += probability(model, filled, target)
    assert found.tolist() == (right / 2).tolist()
    torch.testing.assert_close(chance, (total / 2).double(), rtol=0, atol=1e-6)
    with pytest.raises(SurefootError, match="2 draws for 1 shares"):
        metric.road(model, x, h, shares=(0.5,), noise=noise)
    with pytest.raises(SurefootError, match=r"expected \(N, C, H, W\)"):
        metric.road(nn.Linear(4, 2).eval(), torch.ones(1, 4), torch.ones(1, 4))
