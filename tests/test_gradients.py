"""Scores and their gradients: right, side-effect free, in every mode of the caller."""

import dataclasses
import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from surefoot import SurefootError, gradients, models
from surefoot.explain import (
    ExpectedGradients,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
)

SCORES = ["logit", "probability", "log_probability", "loss", "margin"]
BUILT_INS = [
    *(Gradient(score) for score in SCORES),
    InputXGradient(),
    IntegratedGradients(steps=3, baseline=0.2, score="log_probability"),
    IntegratedGradients(steps=3, quadrature="trapezoid"),
    SmoothGrad(samples=3, std=0.3),
    SmoothGrad(samples=3, std=0.3, statistic="square"),
    SmoothGrad(samples=3, std=0.3, statistic="variance", chunk=2),
    SmoothGrad(IntegratedGradients(steps=2), samples=2),
    ExpectedGradients(torch.linspace(0, 1, 8, dtype=torch.float64).view(2, 4), samples=3),
]


def make_net(activation=nn.Softplus, inplace=False):
    torch.manual_seed(0)
    act = activation(inplace=True) if inplace else activation()
    return nn.Sequential(nn.Linear(4, 5), act, nn.Linear(5, 3)).double().eval()


def make_inputs(count=2):
    return torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def numerical(function, x, step=1e-6):
    """Central differences of a scalar function, entry by entry."""
    result = torch.zeros_like(x)
    for place in range(x.numel()):
        change = torch.zeros(x.numel(), dtype=x.dtype)
        change[place] = step
        change = change.view_as(x)
        result.view(-1)[place] = (function(x + change) - function(x - change)) / (2 * step)
    return result


def by_definition(logits, target, score):
    """Each score from its formula, one sample at a time."""
    probability = logits.exp() / logits.exp().sum()
    others = [value for k, value in enumerate(logits) if k != target]
    return {
        "logit": logits[target],
        "probability": probability[target],
        "log_probability": probability[target].log(),
        "loss": -probability[target].log(),
        "margin": logits[target] - max(others),
    }[score]


@pytest.mark.parametrize("score", SCORES)
def test_scores_by_definition(score):
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [[by_definition(row, k, score) for k in range(4)] for row in logits]
    result = gradients.all_scores(logits, score)
    assert torch.allclose(result, torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    picked = gradients.class_scores(logits, target, score)
    assert torch.equal(picked, result[torch.arange(6), target])


@pytest.mark.parametrize("score", SCORES)
def test_gradient_against_finite_differences(score):
    model, x = make_net(), make_inputs()
    result = Gradient(score)(model, x, torch.tensor([0, 2]))
    for row, target in enumerate((0, 2)):

        def function(point, target=target):
            return by_definition(model(point[None])[0], target, score).detach()

        assert torch.allclose(result[row], numerical(function, x[row]), atol=1e-7)


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_gradcheck_in_the_inputs(explainer):
    model, x = make_net(), make_inputs().requires_grad_()
    target = torch.tensor([0, 2])
    assert torch.autograd.gradcheck(lambda x: explainer(model, x, target), (x,))


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_gradcheck_in_the_parameters(explainer):
    model, x = make_net(), make_inputs()
    names = [name for name, _ in model.named_parameters()]

    class Called(nn.Module):
        def __init__(self, values):
            super().__init__()
            self.values = dict(zip(names, values, strict=True))
            self.eval()

        def forward(self, x):
            return functional_call(model, self.values, (x,))

    def attributions(*values):
        return explainer(Called(values), x, torch.tensor([0, 2]), create_graph=True)

    values = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    assert torch.autograd.gradcheck(attributions, values)


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_parameters_are_reached_by_backward(explainer):
    model = make_net()
    explainer(model, make_inputs(), 1, create_graph=True).square().sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
@pytest.mark.parametrize("wanted", [False, True])
def test_nothing_of_the_caller_is_touched(explainer, wanted):
    model, x = make_net(), make_inputs()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    given, state = x.clone(), torch.get_rng_state()
    result = explainer(model, given, create_graph=wanted)
    assert result.requires_grad is wanted
    assert torch.equal(given, x)
    assert given.grad is None
    assert not given.requires_grad
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_modes_of_the_caller(explainer):
    model, x = make_net(), make_inputs()
    expected = explainer(model, x, 1)
    with torch.no_grad():
        assert torch.equal(explainer(model, x, 1), expected)
        graph = explainer(model, x.clone().requires_grad_(), 1, create_graph=True)
        assert not explainer(model, x.clone().requires_grad_(), 1).requires_grad
    with torch.inference_mode():
        made_inside = x + 0
        assert torch.equal(explainer(model, made_inside, 1), expected)
        assert torch.equal(explainer(model, made_inside), explainer(model, x))
        shown = explainer.explain(model, made_inside, 1)
    assert graph.requires_grad
    assert torch.equal(shown.attributions, expected)
    half = explainer(model, x.clone().requires_grad_(), 1, create_graph=False)
    assert not half.requires_grad


@pytest.mark.parametrize("explainer", [Gradient(), IntegratedGradients(steps=3), SmoothGrad()])
def test_second_order_of_a_map_that_does_not_depend_on_the_inputs_is_zero(explainer):
    model = nn.Linear(4, 3).double().eval().requires_grad_(False)
    x = make_inputs().requires_grad_()
    (slope,) = torch.autograd.grad(explainer(model, x, 1).square().sum(), x)
    linear = model.weight[1]
    expected = 2 * linear**2 * x if isinstance(explainer, IntegratedGradients) else 0 * x
    assert torch.allclose(slope, expected, atol=1e-10)


class Attention(nn.Module):
    def __init__(self, fused):
        super().__init__()
        torch.manual_seed(0)
        self.fused = fused
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        if self.fused:
            mixed = functional.scaled_dot_product_attention(x, x.tanh(), x)
        else:
            mixed = self.mix(x, x, x, need_weights=False)[0]
        return self.head(mixed.mean(1))


@pytest.mark.parametrize("fused", [False, True])
def test_second_order_through_attention(fused):
    model = Attention(fused).double().eval()
    x = torch.rand(2, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Gradient()(model, x, 1), (x,))
    maps = SmoothGrad(samples=2)(model, x, 1)
    grads = torch.autograd.grad(maps.square().sum(), (x, model.head.weight))
    assert all(grad.abs().sum() > 0 for grad in grads)


class FirstInPlace(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.relu(x))


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_a_first_layer_in_place_leaves_the_inputs_alone(explainer):
    model = FirstInPlace().double().eval()
    x = make_inputs() - 0.5
    given = x.clone()
    result = explainer(model, given, 1)
    assert torch.equal(given, x)
    if explainer == Gradient():
        assert torch.allclose(result, model.head.weight[1] * (x > 0))
    graph = explainer(model, given.requires_grad_(), 1)
    assert torch.allclose(graph, result, atol=1e-12)
    assert torch.equal(given.detach(), x)


class Overwrites(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        y = x.exp()
        y += 1
        return self.head(y)


def test_overwriting_what_the_gradient_needs_is_explained():
    with pytest.raises(SurefootError, match=r"in-place operation.*inplace=False.*PyTorch says"):
        Gradient()(Overwrites().eval(), torch.rand(2, 4), 1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of dynamo itself
def test_a_compiled_model_is_told_that_it_has_no_second_derivative():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    compiled, x = torch.compile(net, backend="aot_eager"), torch.rand(2, 4)
    torch.testing.assert_close(Gradient()(compiled, x, 1), Gradient()(net, x, 1))
    with pytest.raises(SurefootError, match=r"torch.compile.*_orig_mod"):
        Gradient()(compiled, x.requires_grad_(), 1).sum().backward()


class MaskedMean(nn.Module):
    """Mean over the unmasked tokens, scaled; both come as extra inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 5), nn.Softplus())
        self.head = nn.Linear(5, 4)

    def forward(self, x, mask, scale):
        mask = mask[..., None].to(x.dtype)
        mean = (self.body(x) * mask).sum(1) / mask.sum(1)
        return self.head(mean * scale[:, None]).tanh()


@pytest.mark.parametrize("chunk", [1, 4, None])
@pytest.mark.parametrize(
    "explainer",
    [
        Gradient(),
        IntegratedGradients(steps=5),
        SmoothGrad(samples=5),
        SmoothGrad(IntegratedGradients(steps=3), samples=2),
        ExpectedGradients(torch.linspace(0, 1, 54, dtype=torch.float64).view(3, 6, 3), samples=5),
    ],
    ids=repr,
)
def test_extra_inputs_follow_their_samples(explainer, chunk):

    model = MaskedMean().double().eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 6, 3, dtype=torch.float64, generator=generator)
    mask = torch.rand(4, 6, generator=generator) > 0.4
    mask[:, 0] = True
    extra = {"scale": torch.rand(4, dtype=torch.float64, generator=generator), "mask": mask}
    result = dataclasses.replace(explainer, chunk=chunk)(model, x, extra=extra)
    assert (result[~mask] == 0).all()

    class One(nn.Module):
        """The model for one sample, its extra inputs built in."""

        def __init__(self, row):
            super().__init__()
            self.row, self.inner = row, model
            self.eval()

        def forward(self, x):
            own = {name: value[self.row].expand(len(x), *value.shape[1:]) for name, value in items}
            return self.inner(x, **own)

    items = list(extra.items())
    alone = torch.cat([explainer(One(row), x[row : row + 1]) for row in range(4)])
    assert torch.allclose(result, alone, atol=1e-12)


def test_predict_is_the_model_in_chunks():
    model, x = make_net(), make_inputs(7)
    logits = gradients.predict(model, x, chunk=3)
    assert torch.allclose(logits, model(x), atol=1e-12)
    assert not logits.requires_grad


def test_target_none_is_the_class_predicted_for_the_clean_inputs():
    model, x = make_net(), make_inputs(6)
    predicted = model(x).argmax(1)
    far = SmoothGrad(samples=4, std=50.0)
    assert torch.equal(far(model, x), far(model, x, predicted))
    assert torch.equal(IntegratedGradients()(model, x), IntegratedGradients()(model, x, predicted))


def test_no_warnings_and_low_precision():
    model, x = make_net().float(), make_inputs().float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low = IntegratedGradients(steps=8)(model.bfloat16(), x.bfloat16(), 1)
    assert low.dtype == torch.bfloat16
    reference = IntegratedGradients(steps=8)(make_net(), make_inputs(), 1)
    assert torch.allclose(low.double(), reference, atol=0.05 * float(reference.abs().max()))


class Viewing(nn.Module):
    """Draws, keeps statistics, and then cannot take channels that are last."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.last = nn.Linear(4 * 4 * 4, 3)

    def forward(self, inputs):
        return self.last(self.first(inputs).view(len(inputs), -1))


def test_a_layout_that_a_model_cannot_take_leaves_no_trace():
    """Statistics are updated once, random numbers drawn once, and no wrapper tries again."""
    model, x, runs = Viewing().train(), torch.rand(5, 2, 6, 6), []
    model.first.register_forward_hook(lambda *_: runs.append(None))
    logits = []
    for _ in range(2):
        torch.manual_seed(1)
        logits.append(gradients.forward(model, x, {}))
    assert model.first[1].num_batches_tracked == 2
    torch.testing.assert_close(*logits)
    assert len(runs) == 3
    gradients.forward(models.Classifier(model), x, {})
    assert len(runs) == 4
