"""Laws that the base explainers obey, in closed form."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import draws
from surefoot.explain import (
    ExpectedGradients,
    Function,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    reduce,
)

BACKGROUND = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(9))
BUILT_INS = [
    Gradient("margin"),
    InputXGradient(),
    IntegratedGradients(steps=5, baseline=0.3),
    SmoothGrad(samples=5),
    SmoothGrad(samples=5, statistic="square"),
    SmoothGrad(samples=5, statistic="variance"),
    SmoothGrad(IntegratedGradients(steps=2), samples=3),
    ExpectedGradients(BACKGROUND, samples=6),
]


def conv_net(activation=nn.Softplus, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), activation(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5)]
    return nn.Sequential(*layers).to(dtype).eval()


def images(count=7, dtype=torch.float64):
    return torch.rand(count, 3, 6, 6, dtype=dtype, generator=torch.Generator().manual_seed(1))


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3).double().eval()


def records(count=5):
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def close(a, b, tolerance):
    return float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-300)


LINEAR_BACKGROUND = torch.randn(
    6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
)
LINEAR_CASES = [
    (Gradient(), lambda x, w: w.expand_as(x)),
    (InputXGradient(), lambda x, w: x * w),
    *(
        (IntegratedGradients(steps=3, baseline=0.7, quadrature=rule), lambda x, w: (x - 0.7) * w)
        for rule in ("gausslegendre", "midpoint", "trapezoid", "left", "right")
    ),
    (
        IntegratedGradients(baseline=LINEAR_BACKGROUND[0]),
        lambda x, w: (x - LINEAR_BACKGROUND[0]) * w,
    ),
    (IntegratedGradients(baseline=torch.sin), lambda x, w: (x - x.sin()) * w),
    (SmoothGrad(samples=4), lambda x, w: w.expand_as(x)),
    (SmoothGrad(samples=4, statistic="square"), lambda x, w: (w**2).expand_as(x)),
    (SmoothGrad(samples=4, statistic="variance"), lambda x, w: 0 * x),
    (
        # As many draws as background inputs: each is drawn once, so the mean is exact.
        ExpectedGradients(LINEAR_BACKGROUND, samples=6),
        lambda x, w: (x - LINEAR_BACKGROUND.mean(0)) * w,
    ),
    (
        ExpectedGradients(LINEAR_BACKGROUND, samples=12, seed=5),
        lambda x, w: (x - LINEAR_BACKGROUND.mean(0)) * w,
    ),
]


@pytest.mark.parametrize(
    ("explainer", "closed_form"),
    LINEAR_CASES,
    ids=lambda c: repr(c)[:60] if hasattr(c, "settings") else "law",  # no addresses: xdist compares
)
def test_linear_model_in_closed_form(explainer, closed_form):
    model, x, target = linear(), records(), torch.tensor([0, 1, 2, 1, 0])
    expected = closed_form(x, model.weight[target].detach())
    assert torch.allclose(explainer(model, x, target), expected, atol=1e-12)


def test_smoothing_a_map_that_is_linear_in_the_input_adds_the_mean_noise():
    model, x, explainer = linear(), records(), SmoothGrad(InputXGradient(), samples=6, std=0.4)
    noise = 0.4 * draws.normal(0, slice(0, 6), x)
    expected = (x + noise.mean(0)) * model.weight[1].detach()
    assert torch.allclose(explainer(model, x, 1), expected, atol=1e-12)
    spread = dataclasses.replace(explainer, statistic="variance")(model, x, 1)
    law = noise.var(0, correction=0) * model.weight[1].detach() ** 2
    assert torch.allclose(spread, law.expand_as(x), atol=1e-12)


@pytest.mark.parametrize("score", ["logit", "probability", "log_probability", "loss"])
def test_integrated_gradients_are_complete_on_a_smooth_net(score):
    model, x = conv_net(), images()
    explainer = IntegratedGradients(steps=64, baseline=0.5, score=score)
    gap = explainer.completeness_gap(model, x)
    assert gap.shape == (7,)
    assert gap.abs().max() <= 1e-6
    coarse = dataclasses.replace(explainer, steps=1, quadrature="left")
    assert coarse.completeness_gap(model, x).abs().max() > 1e-4


def test_the_gap_is_the_sum_minus_the_change_of_the_score():
    model, x, target = conv_net(nn.ReLU), images(), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    explainer = IntegratedGradients(steps=3, baseline=0.2)
    change = (model(x) - model(torch.full_like(x, 0.2)))[torch.arange(7), target].detach()
    expected = explainer(model, x, target).flatten(1).sum(1) - change
    assert torch.allclose(explainer.completeness_gap(model, x, target), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "order"),
    [("gausslegendre", 20), ("midpoint", 2), ("trapezoid", 2), ("left", 1), ("right", 1)],
)
def test_quadratures_converge_at_their_order(rule, order):
    model, x = conv_net(), images(1)

    def gap(steps):
        explainer = IntegratedGradients(steps=steps, quadrature=rule)
        return float(explainer.completeness_gap(model, 3 * x, 1).abs())

    points = 9 if rule == "trapezoid" else 8
    finer = 17 if rule == "trapezoid" else 16
    shrinks = gap(points) / max(gap(finer), 1e-16)
    assert shrinks > 0.8 * 2 ** min(order, 10) or gap(finer) < 1e-12


def test_expected_gradients_are_integrated_gradients_on_average():
    model, x = conv_net(), images(2)
    background = BACKGROUND[:1].double()
    exact = IntegratedGradients(steps=64, baseline=background[0])(model, x, 1)
    sampled = ExpectedGradients(background, samples=4000)(model, x, 1)
    assert close(sampled, exact, 0.02)


@pytest.mark.parametrize(
    "base", [Gradient(), InputXGradient(), IntegratedGradients(steps=4)], ids=repr
)
def test_smoothing_with_no_noise_is_the_base_exactly(base):
    model, x = conv_net(nn.ReLU), images()
    assert torch.equal(SmoothGrad(base, samples=1, std=0.0)(model, x), base(model, x))
    assert torch.equal(SmoothGrad(base, samples=4, std=0.0)(model, x), base(model, x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [1, 3, None])
def test_variance_of_a_steep_linear_model_is_zero(dtype, chunk):
    model, x = linear().to(dtype), records().to(dtype)
    model.weight.data *= 1e4
    result = SmoothGrad(samples=50, statistic="variance", chunk=chunk)(model, x, 1)
    assert torch.equal(result, torch.zeros_like(x))


@pytest.mark.parametrize("chunk", [1, 4, 9, None])
def test_variance_against_two_passes_in_numpy(chunk):
    model, x = conv_net(), images(3)
    explainer = SmoothGrad(samples=11, std=0.5, statistic="variance", seed=3, chunk=chunk)
    noise = 0.5 * draws.normal(3, slice(0, 11), x)
    maps = np.stack([Gradient()(model, x + each, 2).numpy() for each in noise])
    expected = ((maps - maps.mean(0)) ** 2).mean(0)
    result = explainer(model, x, 2).numpy()
    assert np.allclose(result, expected, rtol=1e-10, atol=1e-15)
    assert result.min() >= 0


def test_variance_is_never_negative_in_single_precision():
    model, x = conv_net(dtype=torch.float32), images(dtype=torch.float32)
    model[0].weight.data *= 1e-3
    model[4].weight.data *= 1e6
    assert SmoothGrad(samples=20, statistic="variance")(model, x).min() >= 0


def test_mean_square_is_mean_squared_plus_variance():
    model, x = conv_net(), images()
    base = SmoothGrad(samples=7, std=0.5)
    mean, square, variance = (
        dataclasses.replace(base, statistic=s)(model, x) for s in ("mean", "square", "variance")
    )
    assert torch.allclose(square, mean**2 + variance, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_batch_order_and_chunk_do_not_matter(explainer, activation, dtype):
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    model, x = conv_net(activation, dtype), images(dtype=dtype)
    target = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    whole = explainer(model, x, target)
    single = [explainer(model, x[i : i + 1], target[i]) for i in range(7)]
    assert close(torch.cat(single), whole, tolerance)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert close(explainer(model, x[order], target[order]), whole[order], tolerance)
    for chunk in (1, 3, 50):
        chunked = dataclasses.replace(explainer, chunk=chunk)
        assert close(chunked(model, x, target), whole, tolerance)


@pytest.mark.parametrize("explainer", [SmoothGrad(samples=5), BUILT_INS[-1]], ids=repr)
def test_seeds_repeat_and_differ(explainer):
    model, x = conv_net(), images()
    first = explainer(model, x)
    torch.manual_seed(77)
    assert torch.equal(first, explainer(model, x))
    assert not torch.allclose(first, dataclasses.replace(explainer, seed=1)(model, x))


def test_more_draws_begin_with_the_same_draws():
    model, x = conv_net(), images()
    few, more = (SmoothGrad(samples=n)(model, x) for n in (4, 5))
    fifth = Gradient()(model, x + 0.15 * draws.normal(0, slice(4, 5), x)[0], model(x).argmax(1))
    assert torch.allclose(5 * more - 4 * few, fifth, atol=1e-12)


def test_a_callable_is_an_explainer():
    model, x = conv_net(), images()

    def own(model, inputs, target):
        inputs.requires_grad_()
        score = model(inputs)[torch.arange(len(inputs)), target].sum()
        return torch.autograd.grad(score, inputs)[0]

    expected = Gradient()(model, x)
    assert torch.allclose(Function(own)(model, x), expected, atol=1e-12)
    assert torch.allclose(Function(own).explain(model, x).attributions, expected, atol=1e-12)
    smooth = SmoothGrad(own, samples=3)(model, x)
    assert torch.allclose(smooth, SmoothGrad(samples=3)(model, x), atol=1e-12)
    with torch.inference_mode():
        assert torch.allclose(Function(own)(model, x + 0), expected, atol=1e-12)
    assert not x.requires_grad


def test_explanation_carries_what_it_came_from():
    model, x = conv_net(), images()
    shown = InputXGradient().explain(model, x)
    logits = model(x).detach()
    assert torch.equal(shown.target, logits.argmax(1))
    assert torch.allclose(shown.probabilities, logits.softmax(1))
    assert torch.equal(shown.attributions, InputXGradient()(model, x))
    assert shown.heatmap().shape == (7, 6, 6)
    assert shown.explainer == InputXGradient()


class TinyText(nn.Module):
    """Token indices to logits; `head` is the part from embeddings on."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 2))

    def forward(self, embeddings, mask):
        return (self.head(embeddings) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def test_text_example():
    model = TinyText().eval()
    tokens = torch.tensor([[3, 7, 1, 0], [5, 2, 0, 0]])
    mask = (tokens > 0).float()

    embeddings = model.embed(tokens).detach()
    explainer = IntegratedGradients(steps=16, score="margin")
    attributions = explainer(model, embeddings, extra={"mask": mask})
    per_token = reduce(attributions, "mean", "tokens")

    assert per_token.shape == (2, 4)
    assert (per_token[mask == 0] == 0).all()
    assert (per_token[mask == 1] != 0).all()


def test_tabular_example():
    torch.manual_seed(0)
    records, relevant = torch.randn(64, 6), (0, 4)
    labels = (records[:, 0] - 2 * records[:, 4] > 0).long()
    model = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(records), labels).backward()
        optimizer.step()

    explainer = ExpectedGradients(baselines=records, samples=64)
    attributions = explainer(model.eval(), records, labels)

    strongest = reduce(attributions).mean(0).topk(2).indices
    assert sorted(strongest.tolist()) == list(relevant)
