"""Explainers as captum and Quantus call them."""

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError
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
    assert bound.has_convergence_delta() is False
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
