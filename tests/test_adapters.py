"""Explainers as captum and Quantus call them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain
from surefoot.explain import (
    Captum,
    ExpectedGradients,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    bind,
    quantus,
)


def make_net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)).to(dtype).eval()


def make_inputs(dtype=torch.float64):
    return torch.rand(5, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, x, gate, scale=None):
        return self.head(x * gate) * (1 if scale is None else scale)


def test_bound_attribute_is_the_explainer():
    model, x = make_net(), make_inputs()
    bound = bind(IntegratedGradients(steps=4), model)
    expected = IntegratedGradients(steps=4)(model, x, 2)
    assert torch.equal(bound.attribute(x, target=2), expected)
    assert torch.equal(bound.attribute((x,), 2)[0], expected)
    assert torch.equal(bound.attribute(x, [2] * 5), expected)
    assert torch.equal(bound.attribute.__wrapped__(bound, x, target=2), expected)
    assert bound.forward_func is model
    assert bound.has_convergence_delta() is True
    assert bind(Gradient(), model).has_convergence_delta() is False
    assert bound.attribute(x.requires_grad_(), 2, create_graph=True).requires_grad


@pytest.mark.parametrize(
    ("explainer", "multiplies"),
    [
        (Gradient(), False),
        (InputXGradient(), True),
        (SmoothGrad(), False),
        (SmoothGrad(IntegratedGradients()), True),
        (ExpectedGradients(torch.zeros(1, 4)), True),
    ],
    ids=repr,
)
def test_multiplies_by_inputs(explainer, multiplies):
    assert bind(explainer, make_net()).multiplies_by_inputs is multiplies


def test_additional_arguments_go_by_name():
    model, x = Gated().double().eval(), make_inputs()
    gate, scale = torch.rand(5, 4).double(), torch.rand(5, 1).double()
    bound = bind(Gradient(), model)
    expected = model.head.weight[1] * gate
    assert torch.allclose(bound.attribute(x, 1, gate), expected)
    assert torch.allclose(bound.attribute(x, 1, (gate, scale)), expected * scale)
    assert torch.allclose(bound.attribute(x, 1, (gate, None)), expected)
    with pytest.raises(SurefootError, match=r"3 additional_forward_args.*'gate', 'scale'"):
        bound.attribute(x, 1, (gate, scale, scale))


def test_two_inputs_raise():
    x = make_inputs()
    with pytest.raises(SurefootError, match="2 inputs came"):
        bind(Gradient(), make_net()).attribute((x, x), 1)


class Two(nn.Module):
    """Two inputs and a number; outputs (N, 2, 3)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 6), nn.Linear(3, 6)

    def forward(self, x, z, scale=1.0):
        return torch.tanh(self.a(x) + scale * self.b(z)).view(-1, 2, 3)


def two():
    second = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return Two().double(), (make_inputs(), second)


BOTH = ("gausslegendre", "riemann_trapezoid", "riemann_right", "riemann_left", "riemann_middle")


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients_as_captum_writes_them(method, multiply):
    """Several inputs, a further argument, targets of two indices, a baseline a sample."""
    attr = pytest.importorskip("captum.attr")
    model, inputs = two()
    baselines = (torch.rand(5, 4, dtype=torch.float64), 0.25)
    asked = {
        "target": [(0, 1), (1, 2), (0, 0), (1, 1), (0, 2)],
        "additional_forward_args": (0.5,),
        "n_steps": 13,
        "method": method,
        "baselines": baselines,
        "return_convergence_delta": True,
    }
    bound = bind(IntegratedGradients(), model, multiply_by_inputs=multiply)
    ours, delta = bound.attribute(inputs, **asked)
    theirs = attr.IntegratedGradients(model, multiply_by_inputs=multiply)
    wanted, their_delta = theirs.attribute(inputs, **asked)
    # The weights of captum's trapezoid add up to 12 / 13; its points are in single precision.
    whole = 13 / 12 if method == "riemann_trapezoid" else 1
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, whole * b, rtol=0, atol=1e-7)
    if whole == 1:
        torch.testing.assert_close(delta, their_delta.double(), rtol=0, atol=1e-6)
    assert bound.multiplies_by_inputs is multiply


def test_wrappers_of_captum_get_deltas_and_baselines():
    attr = pytest.importorskip("captum.attr")
    model, inputs = two()
    asked = {
        "target": (1, 0),
        "baselines": (torch.rand(5, 4, dtype=torch.float64), torch.rand(1, 3, dtype=torch.float64)),
        "nt_samples": 3,
        "stdevs": 0.2,
        "n_steps": 9,
        "return_convergence_delta": True,
    }
    found = []
    for inner in (bind(IntegratedGradients(), model), attr.IntegratedGradients(model)):
        torch.manual_seed(3)
        found.append(attr.NoiseTunnel(inner).attribute(inputs, **asked))
    (ours, delta), (theirs, their_delta) = found
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)
    assert delta.shape == their_delta.shape == (15,)
    torch.testing.assert_close(delta, their_delta.double(), rtol=0, atol=1e-6)


def test_gradient_shap_is_expected_gradients_with_noise():
    torch.manual_seed(0)
    linear = nn.Linear(4, 3).double().eval()
    background = torch.rand(7, 4, dtype=torch.float64)
    e = ExpectedGradients(torch.zeros(1, 1), samples=7 * 40)
    x = make_inputs()
    found = bind(e, linear).attribute(x, 1, baselines=lambda: background, stdevs=0.01)
    wanted = (x - background.mean(0)) * linear.weight[1]  # of a linear model, without noise
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=0.01)
    assert not torch.equal(found, bind(e, linear).attribute(x, 1, baselines=background))


def test_functions_and_numbers():
    model, x = make_net(), make_inputs()
    wanted = Gradient()(model, x, 2)
    assert torch.equal(bind(Gradient(), model.forward).attribute(x, 2), wanted)
    assert torch.equal(bind(Gradient(), lambda x: 1 * model(x)).attribute(x, 2), wanted)
    # one number a sample, in and out, no target
    found = bind(InputXGradient(), lambda a, b: a * b**2).attribute((x[:, 0], x[:, 1]))
    product = x[:, 0] * x[:, 1] ** 2
    torch.testing.assert_close(found[0], product)
    torch.testing.assert_close(found[1], 2 * product)
    only = nn.Linear(4, 1).double()
    for target in (None, 0):
        torch.testing.assert_close(
            bind(Gradient(), only).attribute(x, target), only.weight.detach().expand_as(x)
        )


def test_a_mode_that_nothing_reads_makes_no_difference():
    model = make_net().train()
    bind(Gradient(), model).attribute(make_inputs(), 1)
    assert all(module.training for module in model.modules())
    # Quantus's metrics call the model themselves and count on its own function's model.eval()
    quantus(Gradient())(model, make_inputs().numpy(), np.array([0, 1, 2, 0, 1]))
    assert not any(module.training for module in model.modules())
    dropping = nn.Sequential(nn.Linear(4, 3), nn.Dropout()).double()
    with pytest.raises(SurefootError, match=r"training mode.*model.eval\(\)"):
        bind(Gradient(), dropping).attribute(make_inputs(), 1)
    with pytest.raises(SurefootError, match=r"training mode.*model.eval\(\)"):
        quantus(Gradient())(dropping, make_inputs().numpy(), np.array([0, 1, 2, 0, 1]))
    assert all(module.training for module in dropping.modules())


def test_settings_of_the_call_that_the_recipe_has_not():
    bound = bind(Gradient(), make_net())
    with pytest.raises(
        SurefootError, match=r"has no steps.*n_steps=.*IntegratedGradients\(steps=64\)"
    ):
        bound.attribute(make_inputs(), 1, n_steps=20)
    with pytest.raises(SurefootError, match=r"no setting 'sliding_window'.*belong to the recipe"):
        bound.attribute(make_inputs(), 1, sliding_window=3)
    with pytest.raises(SurefootError, match="no convergence delta; IntegratedGradients has"):
        bound.attribute(make_inputs(), 1, return_convergence_delta=True)
    with pytest.raises(SurefootError, match="expected a module or a function"):
        bind(Gradient(), 3)
    ablation = bind(Captum("FeatureAblation"), make_net(torch.float32))
    x = make_inputs(torch.float32)
    moved = ablation.attribute(x, 1, baselines=0.5)
    torch.testing.assert_close(
        moved, Captum("FeatureAblation", baselines=0.5)(make_net(torch.float32), x, 1)
    )


def test_noise_tunnel_wraps_a_bound_explainer():
    attr = pytest.importorskip("captum.attr")
    model, x = make_net(), make_inputs()
    torch.manual_seed(3)
    tunnel = attr.NoiseTunnel(bind(InputXGradient(), model))
    ours = tunnel.attribute(x, nt_samples=4, stdevs=0.3, target=1)
    torch.manual_seed(3)
    theirs = attr.NoiseTunnel(attr.InputXGradient(model))
    expected = theirs.attribute(x.requires_grad_(), nt_samples=4, stdevs=0.3, target=1)
    assert torch.allclose(ours, expected, atol=1e-12)


def test_captum_metrics_call_a_bound_explainer():
    metrics = pytest.importorskip("captum.metrics")
    attr = pytest.importorskip("captum.attr")
    model, x = make_net(torch.float32), make_inputs(torch.float32)
    torch.manual_seed(3)
    ours = metrics.sensitivity_max(bind(Gradient(), model).attribute, x, target=1)
    torch.manual_seed(3)

    def saliency(inputs, target):
        inputs = tuple(each.requires_grad_() for each in inputs)
        return attr.Saliency(model).attribute(inputs, target, abs=False)

    assert torch.allclose(ours, metrics.sensitivity_max(saliency, x, target=1), atol=1e-6)
    assert (ours > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("explainer", [Gradient(), SmoothGrad(samples=3), Captum("DeepLift")])
def test_quantus_takes_and_returns_numpy(explainer, dtype):
    model = make_net(torch.float32)
    arrays, labels = make_inputs().numpy().astype(dtype), np.array([0, 1, 2, 0, 1])
    result = quantus(explainer)(model, arrays, labels, device="cpu")
    expected = explainer(model, torch.tensor(arrays, dtype=torch.float32), torch.tensor(labels))
    assert isinstance(result, np.ndarray)
    assert np.array_equal(result, expected.numpy())


def test_quantus_keeps_the_layout_and_the_mode_of_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).eval()
    channels_last = np.random.default_rng(0).random((2, 4, 3, 2))
    with torch.no_grad():
        result = quantus(Gradient())(model, channels_last)
    assert result.shape == channels_last.shape
    with pytest.raises(TypeError, match="normalise"):
        quantus(Gradient())(model, channels_last, normalise=True)


@pytest.mark.parametrize(
    ("shape", "layout", "reduced"),
    [
        ((3, 2, 4, 5), None, (3, 1, 4, 5)),
        ((3, 2, 9), "signal", (3, 1, 9)),
        ((3, 9, 2), "tokens", (3, 9, 1)),
        ((3, 8), None, (3, 8)),
    ],
)
def test_quantus_gets_one_channel(shape, layout, reduced):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape[1:]).numel(), 3)).eval()
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    f = quantus(Gradient(), reduction="sum_abs", layout=layout)
    found = f(model, x, np.array([0, 1, 2]), method="gradient", device="cpu")
    whole = np.abs(quantus(Gradient())(model, x, np.array([0, 1, 2])))
    axis = {"signal": 1, "tokens": 2}.get(layout, 1)
    wanted = whole if len(shape) == 2 else whole.sum(axis, keepdims=True)
    assert found.shape == reduced
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_quantus_evaluates_surefoot_explainers():
    """Its `evaluate` hands the method's name to whatever callable it was given."""
    measures = pytest.importorskip("quantus")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(72, 3)).eval()
    x = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    found = measures.evaluate(
        metrics={"sparse": measures.Sparseness(disable_warnings=True)},
        xai_methods={"g": quantus(Gradient()), "ig": quantus(IntegratedGradients(steps=4))},
        model=model,
        x_batch=x,
        y_batch=np.array([0, 1, 2]),
        explain_func_kwargs={},
    )
    maps = quantus(Gradient())(model, x, np.array([0, 1, 2]))
    wanted = measures.Sparseness(disable_warnings=True)(
        model=model, x_batch=x, y_batch=np.array([0, 1, 2]), a_batch=maps
    )
    np.testing.assert_allclose(found["g"]["sparse"], wanted, rtol=1e-5)
    assert not np.allclose(found["ig"]["sparse"], wanted)


def test_quantus_measures_a_surefoot_explainer():
    measures = pytest.importorskip("quantus")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(72, 3)).eval()
    images = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    metric = measures.MaxSensitivity(nr_samples=3, disable_warnings=True)
    scores = metric(
        model=model,
        x_batch=images,
        y_batch=np.array([0, 1, 2]),
        explain_func=quantus(Gradient()),
        device="cpu",
    )
    assert np.shape(scores) == (3,)
    assert np.isfinite(scores).all()


def test_habits_of_other_libraries_are_answered_with_our_way():
    model, x = make_net(), make_inputs()
    with pytest.raises(SurefootError, match=r"no setting 'n_steps'; did you mean steps"):
        IntegratedGradients(n_steps=20)
    with pytest.raises(SurefootError, match=r"no setting 'baselines'; did you mean baseline"):
        SmoothGrad(IntegratedGradients(baselines=0.5))
    with pytest.raises(SurefootError, match=r"explainer\(model, inputs, target\).*explain.bind"):
        IntegratedGradients(model).attribute(x, target=1)
    with pytest.raises(SurefootError, match=r"explain\.bind"):
        Gradient().attribute(x)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the guests
def test_the_page_for_guests_runs():
    pytest.importorskip("captum")
    pytest.importorskip("quantus")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Softplus(), nn.Linear(9, 5)).eval()
    x = torch.rand(2, 3, 4, 4)
    names = {"explain": explain, "net": net, "x": x, "b": torch.rand(2, 3, 4, 4)}
    names |= {"images": x.numpy(), "labels": np.array([0, 3])}
    page = (Path(__file__).parents[1] / "docs" / "guests.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block in blocks:
        exec(block, names)  # noqa: S102 (our own page)
    assert len(blocks) == 2
    # The recipes of the table, as they stand there.
    names |= {"attack": attack, "background": x, "ig": explain.IntegratedGradients()}
    cells = re.findall(r"`(explain\.[^`]*\(net, x, 3\))`", page)
    assert len(cells) == 3
    for cell in cells:
        assert eval(cell, names).shape[0] == 2  # noqa: S307


def test_gradient_shap_tells_what_each_draw_misses():
    model = make_net()
    torch.manual_seed(2)
    background, x = torch.rand(6, 4, dtype=torch.float64), make_inputs()
    target = torch.tensor([0, 1, 2, 0, 1])
    e = ExpectedGradients(background, samples=9, score="logit", chunk=7)
    bound = bind(e, model)
    assert bound.has_convergence_delta()
    maps, delta = bound.attribute(x, target, return_convergence_delta=True)
    assert torch.equal(maps, e(model, x, target))
    assert delta.shape == (5 * 9,)
    # The mean over a sample's draws is the map's sum minus the score's change.
    one = ExpectedGradients(background[:1], samples=4)
    maps, delta = bind(one, model).attribute(x, target, return_convergence_delta=True)
    ends = (x, background[:1].expand(5, 4))
    scores = [model(points)[range(5), target] for points in ends]
    wanted = maps.sum(1) - (scores[0] - scores[1])
    torch.testing.assert_close(delta.view(5, 4).mean(1), wanted.detach())
    linear = nn.Linear(4, 3).double().eval()  # nothing is missed on a straight way
    noisy = bind(ExpectedGradients(background, samples=9, std=0.1), linear)
    _, delta = noisy.attribute(x, target, return_convergence_delta=True)
    torch.testing.assert_close(delta, torch.zeros_like(delta), rtol=0, atol=1e-12)
    with pytest.raises(SurefootError, match="does not broadcast"):
        bound.compute_convergence_delta(maps, background, x, target)
