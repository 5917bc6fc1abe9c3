"""captum's methods as explainers."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from surefoot import MissingExtraError, SurefootError, SurefootWarning
from surefoot.explain import Captum, Gradient, SmoothGrad, from_json, parse, to_json

attr = pytest.importorskip("captum.attr")
rules = pytest.importorskip("captum.attr._utils.lrp_rules")


def make_net(inplace=False, pool=nn.AvgPool2d):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), pool(2), nn.Conv2d(4, 5, 3)]
    head = [nn.ReLU(inplace), nn.Flatten(), nn.Linear(20, 4)]
    return nn.Sequential(*layers, *head).double().eval()


class Functional(nn.Module):
    """Two convolutions, each followed by the activation it is given."""

    def __init__(self, first, second):
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.first, self.second = first, second
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        x = self.second(self.two(self.first(self.one(x))))
        return self.head(x.mean((2, 3)))


class GuidedReLU(torch.autograd.Function):
    """ReLU whose gradient passes only where it and the activation are positive."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return grad.clamp(min=0) * (ctx.saved_tensors[0] > 0)


def numpy_random_state():
    return np.random.get_state()[1].copy()  # noqa: NPY002 (the state captum draws from)


@pytest.fixture
def images():
    return torch.rand(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


TARGET = torch.tensor([0, 1, 2, 3, 1])
FEATURES = (torch.arange(192) // 48).view(3, 8, 8)
CASES = [
    Captum("Saliency"),
    Captum("InputXGradient"),
    Captum("IntegratedGradients", n_steps=5, method="riemann_left"),
    Captum("DeepLift", baselines=0.0),
    Captum("DeepLiftShap", baselines=torch.rand(3, 3, 8, 8)),
    Captum("GuidedBackprop"),
    Captum("Deconvolution", score="probability"),
    Captum("GuidedGradCam", layer="3"),
    Captum("LayerGradCam", layer="3"),
    Captum("LayerActivation", layer="3"),
    Captum("LayerGradientXActivation", layer="3"),
    Captum("LayerConductance", layer="3", n_steps=4),
    Captum("LayerIntegratedGradients", layer="3", n_steps=4),
    Captum("LayerDeepLift", layer="3"),
    Captum("InternalInfluence", layer="3", n_steps=4),
    Captum("NeuronGradient", layer="3", neuron_selector=(0, 1, 1)),
    Captum("Occlusion", sliding_window_shapes=(3, 3, 3), strides=(3, 2, 2)),
    Captum("FeatureAblation", feature_mask=FEATURES),
    Captum("ShapleyValues", feature_mask=FEATURES),
    Captum("ShapleyValueSampling", feature_mask=FEATURES, n_samples=3),
    Captum("KernelShap", feature_mask=FEATURES, n_samples=12),
    Captum("GradientShap", baselines=0.0, n_samples=3, stdevs=0.1),
    Captum("NoiseTunnel", attribution_method="Saliency", nt_samples=3, abs=False),
]
POOLED = [e for e in CASES if e.algorithm in ("DeepLift", "DeepLiftShap", "LayerDeepLift")]


@pytest.mark.parametrize("explainer", CASES, ids=lambda e: e.algorithm)
def test_each_sample_is_by_itself_and_nothing_is_left_behind(explainer, images):
    model = make_net(inplace=True)
    model.train(False)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    held = [set(vars(module)) for module in model.modules()]
    state, numpy_state = torch.get_rng_state(), numpy_random_state()
    given = images.clone()
    whole = explainer(model, given, TARGET)
    single = torch.cat([explainer(model, images[i : i + 1], TARGET[i]) for i in range(5)])
    order = torch.tensor([3, 1, 4, 0, 2])
    tolerance = 1e-10 * float(whole.abs().max())
    assert whole.abs().max() > 0
    assert (whole - single).abs().max() <= tolerance
    permuted = dataclasses.replace(explainer, chunk=2)(model, images[order], TARGET[order])
    assert (whole[order] - permuted).abs().max() <= tolerance
    assert not whole.requires_grad
    assert torch.equal(given, images)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, numpy_random_state())
    assert held == [set(vars(module)) for module in model.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model[1].inplace


@pytest.mark.parametrize("explainer", POOLED, ids=lambda e: e.algorithm)
def test_max_pooling_does_not_mix_the_batch(explainer, images):
    model = make_net(pool=nn.MaxPool2d)
    images = images.clone()
    images[1:, :, 4:] = 0
    images[1:3, :, :, :4] = 0
    whole = explainer(model, images, TARGET)
    single = torch.cat([explainer(model, images[i : i + 1], TARGET[i]) for i in range(5)])
    assert (whole - single).abs().max() <= 1e-10 * whole.abs().max()


def test_saliency_and_deeplift_are_captums_own(images):
    model = make_net()
    expected = attr.Saliency(model).attribute(images.requires_grad_(), target=TARGET)
    assert torch.allclose(Captum("Saliency")(model, images.detach(), TARGET), expected, atol=1e-12)
    signed = Captum(attr.Saliency, abs=False)(model, images.detach(), TARGET)
    assert (signed < 0).any()
    assert torch.allclose(signed.abs(), expected, atol=1e-12)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_deeplift_is_complete(images, inplace, baseline):
    model = make_net(inplace)
    attributions = Captum("DeepLift", baselines=baseline)(model, images, TARGET)
    rows = torch.arange(5)
    with torch.no_grad():
        change = model(images.clone()) - model(torch.full_like(images, baseline))
    assert torch.allclose(attributions.flatten(1).sum(1), change[rows, TARGET], atol=1e-9)


@pytest.mark.parametrize("shared", [False, True])
def test_guided_backprop_against_its_definition(images, shared):
    relu = nn.ReLU(inplace=True)
    model = Functional(relu, relu if shared else nn.ReLU()).double().eval()
    model.two.weight.data *= 3
    reference = Functional(GuidedReLU.apply, GuidedReLU.apply).double()
    reference.load_state_dict(model.state_dict())
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reference(x)[torch.arange(5), TARGET].sum(), x)
    plain = Captum("Saliency", abs=False)(model, images, TARGET)
    guided = Captum("GuidedBackprop")(model, images, TARGET)
    assert torch.allclose(guided, expected, atol=1e-12)
    assert not torch.allclose(guided, plain, atol=1e-3)


@pytest.mark.parametrize("method", ["GuidedBackprop", "Deconvolution", "DeepLift", "LRP"])
@pytest.mark.parametrize(
    "activation", [functional.relu, torch.relu_, torch.Tensor.relu, nn.ReLU6(), functional.gelu]
)
def test_activations_that_cannot_be_hooked_raise(images, method, activation):
    model = Functional(activation, activation).double().eval()
    with pytest.raises(SurefootError, match=r"silently return the plain gradient"):
        Captum(method)(model, images, TARGET)


@pytest.mark.parametrize("method", ["GuidedBackprop", "DeepLift"])
def test_activations_half_of_which_cannot_be_hooked_warn(images, method):
    model = Functional(nn.ReLU(), functional.relu).double().eval()
    with pytest.warns(SurefootWarning, match=r"1 of 2 activations \(relu\)"):
        Captum(method)(model, images, TARGET)


@pytest.mark.parametrize("method", ["GuidedBackprop", "DeepLift", "Saliency"])
def test_a_linear_model_has_nothing_to_hook(method):
    model = nn.Linear(6, 3).double().eval()
    x = torch.rand(2, 6, dtype=torch.float64)
    expected = model.weight[1].detach().expand(2, 6)
    expected = expected * x if method == "DeepLift" else expected
    options = {"abs": False} if method == "Saliency" else {}
    assert torch.allclose(Captum(method, **options)(model, x, 1), expected, atol=1e-12)


@pytest.mark.parametrize("method", ["DeepLift", "LRP"])
def test_a_shared_activation_raises_where_captum_is_wrong(images, method):
    relu = nn.ReLU()
    with pytest.raises(SurefootError, match=r"'first' is used 2 times"):
        Captum(method)(Functional(relu, relu).double().eval(), images, TARGET)


def test_lrp_leaves_weights_and_storage_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    storage = [p.data_ptr() for p in model.parameters()]
    model[0].rule = rule = rules.GammaRule()
    Captum("LRP")(model, torch.rand(2, 6, dtype=torch.float64), 1)
    assert storage == [p.data_ptr() for p in model.parameters()]
    assert model[0].rule is rule


def test_layer_grad_cam_by_hand(images):
    model = make_net()
    with torch.enable_grad():
        features = model[:4](images)
        score = model[4:](features)[torch.arange(5), TARGET].sum()
        (slopes,) = torch.autograd.grad(score, features)
    cam = (slopes.mean((2, 3), keepdim=True) * features.detach()).sum(1, keepdim=True)
    expected = functional.interpolate(cam, (8, 8), mode="bilinear", align_corners=False)
    result = Captum("LayerGradCam", layer="3")(model, images, TARGET)
    assert torch.allclose(result, expected.expand(5, 3, 8, 8), atol=1e-12)
    rectified = Captum("LayerGradCam", layer="3", relu_attributions=True)(model, images, TARGET)
    assert rectified.min() >= 0
    by_module = Captum("LayerGradCam", layer=model[3])(model, images, TARGET)
    assert torch.equal(by_module, result)


def test_layer_of_tokens_is_summed_over_the_embedding():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.mix, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.mix(x).tanh().sum(1))

    model, x = Tokens().double().eval(), torch.rand(2, 5, 4, dtype=torch.float64)
    result = Captum("LayerActivation", layer="mix")(model, x, 0, layout="tokens")
    expected = model.mix(x).sum(2, keepdim=True).expand(2, 5, 4)
    assert torch.allclose(result, expected, atol=1e-12)


def test_occlusion_by_hand(images):
    model = make_net()
    result = Captum("Occlusion", sliding_window_shapes=(3, 4, 4), strides=(3, 4, 4), baselines=0.5)
    attributions = result(model, images, TARGET)
    rows = torch.arange(5)
    for top in (0, 4):
        for left in (0, 4):
            hidden = images.clone()
            hidden[:, :, top : top + 4, left : left + 4] = 0.5
            drop = (model(images) - model(hidden))[rows, TARGET].detach()
            patch = attributions[:, :, top : top + 4, left : left + 4]
            assert torch.allclose(patch, drop[:, None, None, None].expand_as(patch), atol=1e-12)


def test_random_methods_repeat_and_follow_the_seed(images):
    model = make_net()
    explainer = Captum("GradientShap", baselines=0.0, stdevs=0.2)
    first = explainer(model, images, TARGET)
    torch.rand(3)
    assert torch.equal(first, explainer(model, images, TARGET))
    other = dataclasses.replace(explainer, seed=1)(model, images, TARGET)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("score", ["logit", "probability", "log_probability", "loss", "margin"])
def test_score_is_what_is_differentiated(images, score):
    model = make_net()
    expected = Gradient(score)(model, images, TARGET)
    result = Captum("Saliency", abs=False, score=score)(model, images, TARGET)
    assert torch.allclose(result, expected, atol=1e-12)


def test_extra_inputs_are_passed_by_name():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.head = nn.Linear(3, 2)

        def forward(self, x, *, scale, mask):
            return self.head((x * mask[..., None]).sum(1) * scale[:, None])

    model, x = Masked().double().eval(), torch.rand(4, 5, 3, dtype=torch.float64)
    extra = {"mask": (torch.rand(4, 5) > 0.4).double(), "scale": torch.rand(4).double()}
    expected = model.head.weight[1] * extra["mask"][..., None] * extra["scale"][:, None, None] * x
    for method in ("IntegratedGradients", "DeepLift", "FeatureAblation"):
        for chunk in (None, 3):
            result = Captum(method, chunk=chunk)(model, x, 1, extra=extra)
            assert torch.allclose(result, expected, atol=1e-9)


def test_inside_a_wrapper_and_in_inference_mode(images):
    model = make_net()
    smooth = SmoothGrad(Captum("Saliency", abs=False), samples=4)
    native = SmoothGrad(samples=4)
    assert torch.allclose(smooth(model, images, 1), native(model, images, 1), atol=1e-12)
    with torch.inference_mode():
        inside = Captum("DeepLift")(model, images + 0, 1)
    assert torch.allclose(inside, Captum("DeepLift")(model, images, 1), atol=1e-12)
    shown = Captum("GuidedBackprop").explain(model, images, 1)
    assert torch.allclose(shown.attributions, Captum("GuidedBackprop")(model, images, 1))


def test_hooks_go_also_when_the_call_fails_and_the_callers_stay(images):
    model = make_net()
    calls = []
    handle = model[1].register_forward_hook(lambda *_: calls.append(1))

    def fail(module, args):
        if len(calls) > 2:
            raise RuntimeError("broken")

    breaking = model[6].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="broken"):
        Captum("DeepLift")(model, images, TARGET)
    breaking.remove()
    assert [len(m._forward_hooks) for m in model] == [0, 1, 0, 0, 0, 0, 0]
    assert not any(hasattr(m, "input") or hasattr(m, "output") for m in model)
    calls.clear()
    handle.remove()
    model(images)
    assert not calls


@pytest.mark.parametrize(
    ("explainer", "says"),
    [
        (Captum("DeepLfit"), "did you mean DeepLift"),
        (Captum("Attribution_"), "captum.attr has no method"),
        (Captum(dict), "has no method"),
        (Captum("Saliency", absolute=True), "no option 'absolute'; did you mean abs"),
        (Captum("Occlusion"), r"needs the options \['sliding_window_shapes'\]"),
        (
            Captum("LayerGradCam", layer="33"),
            "'33' is not a submodule of Sequential; did you mean '3'",
        ),
        (Captum("DeepLift", score="loss"), "no rule for score='loss'"),
        (Captum("FeaturePermutation"), "across the batch"),
        (Captum("DeepLift", return_convergence_delta=True), "returned tuple"),
        (Captum("LayerActivation", layer="6"), r"returned \(5, 4\)"),
        (Captum("Occlusion", sliding_window_shapes=(9, 9, 9)), "captum's Occlusion refuses"),
        (Captum("DeepLift", baselines=torch.zeros(4, 3, 8, 8)), "one for all samples"),
        (Captum("Saliency", score="logits"), "unknown"),
    ],
    ids=repr,
)
def test_bad_requests_say_what_to_do(explainer, says, images):
    with pytest.raises(SurefootError, match=says):
        explainer(make_net(), images, TARGET)


def test_differentiating_names_the_built_ins(images):
    with pytest.raises(SurefootError, match="IntegratedGradients"):
        Captum("Saliency")(make_net(), images, TARGET, create_graph=True)


def test_target_out_of_range(images):
    with pytest.raises(SurefootError, match=r"\[0, 3\]"):
        Captum("Saliency")(make_net(), images, 4)


def test_missing_captum_names_the_extra(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"surefoot\[captum\]"):
        Captum("Saliency")(make_net(), images, TARGET)


@pytest.mark.parametrize("explainer", [e for e in CASES if e != CASES[4]], ids=repr)
def test_recipe_leads_back(explainer):
    if "tensor(" not in repr(explainer):
        assert parse(repr(explainer)) == explainer
        assert from_json(to_json(explainer)) == explainer


def test_recipe_reads_like_the_call():
    explainer = Captum("IntegratedGradients", method="riemann_left", n_steps=5)
    shown = "Captum('IntegratedGradients', method='riemann_left', n_steps=5, score='logit')"
    assert repr(explainer) == shown
    assert dataclasses.replace(explainer, n_steps=6).options["n_steps"] == 6
    assert repr(Captum("Saliency", seed=3)) == "Captum('Saliency', score='logit', seed=3)"
    assert from_json(to_json(Captum(attr.Saliency))) == Captum(attr.Saliency)
