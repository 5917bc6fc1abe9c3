"""Agreement with captum to 1e-5 of the map's maximum, where it has the method."""

import pytest
import torch
from torch import nn

from surefoot import draws
from surefoot.explain import Gradient, InputXGradient, IntegratedGradients, SmoothGrad

attr = pytest.importorskip("captum.attr")

TARGET = torch.tensor([0, 1, 2, 3])
RULES = {
    "gausslegendre": "gausslegendre",
    "midpoint": "riemann_middle",
    "left": "riemann_left",
    "right": "riemann_right",
}


def make_net(activation):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), activation(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4)]
    return nn.Sequential(*layers).eval()


@pytest.fixture(params=[nn.ReLU, nn.Softplus], ids=["relu", "softplus"])
def model(request):
    return make_net(request.param)


@pytest.fixture
def images():
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def agree(ours, theirs):
    theirs = theirs.detach()
    return float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


def test_gradient(model, images):
    theirs = attr.Saliency(model).attribute(images.clone().requires_grad_(), TARGET, abs=False)
    assert agree(Gradient()(model, images, TARGET), theirs)


def test_input_times_gradient(model, images):
    theirs = attr.InputXGradient(model).attribute(images.clone().requires_grad_(), TARGET)
    assert agree(InputXGradient()(model, images, TARGET), theirs)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("baseline", [0.0, 0.25])
def test_integrated_gradients(model, images, rule, baseline):
    theirs = attr.IntegratedGradients(model).attribute(
        images, baseline, TARGET, n_steps=9, method=RULES[rule]
    )
    ours = IntegratedGradients(steps=9, baseline=baseline, quadrature=rule)
    assert agree(ours(model, images, TARGET), theirs)


def test_trapezoid_is_captums_made_to_sum_to_one(model, images):
    # captum's trapezoid weights sum to (n - 1) / n, so that its maps are too small by that.
    theirs = attr.IntegratedGradients(model).attribute(
        images, target=TARGET, n_steps=9, method="riemann_trapezoid"
    )
    ours = IntegratedGradients(steps=9, quadrature="trapezoid")
    assert agree(ours(model, images, TARGET), theirs * 9 / 8)


def test_score_is_captums_forward_function(model, images):
    theirs = attr.IntegratedGradients(lambda x: model(x).log_softmax(1)).attribute(
        images, target=TARGET, n_steps=9
    )
    ours = IntegratedGradients(steps=9, score="log_probability")
    assert agree(ours(model, images, TARGET), theirs)


@pytest.mark.parametrize(
    ("statistic", "name"),
    [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")],
)
@pytest.mark.parametrize("base", ["Saliency", "IntegratedGradients"])
def test_smoothing_with_the_same_noise(model, images, statistic, name, base, monkeypatch):
    # In double precision: captum's variance is a difference of two averages.
    model, images = model.double(), images.double()
    noise = draws.normal(0, slice(0, 6), images)

    def same_noise(mean, std):
        # captum draws for all samples at once, the draws of a sample side by side.
        return mean + std * noise.repeat(len(std) // 6, 1, 1, 1)

    monkeypatch.setattr(torch, "normal", same_noise)
    options = {"abs": False} if base == "Saliency" else {"n_steps": 5}
    theirs = attr.NoiseTunnel(getattr(attr, base)(model)).attribute(
        images.clone().requires_grad_(),
        nt_type=name,
        nt_samples=6,
        stdevs=0.3,
        target=TARGET,
        **options,
    )
    native = Gradient() if base == "Saliency" else IntegratedGradients(steps=5)
    ours = SmoothGrad(native, samples=6, std=0.3, statistic=statistic)
    assert agree(ours(model, images, TARGET), theirs)
