"""Smooth surrogates: every form of every activation is replaced, and nothing else is touched."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import nn

from surefoot import SurefootError
from surefoot.attack import smooth

FORMS = {
    "relu": [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        F.relu_,
        torch.relu,
        torch.relu_,
        lambda x: F.relu(x, True),
        lambda x: x.relu(),
        lambda x: x.relu_(),
        torch.ops.aten.relu.default,
    ],
    "leaky_relu": [
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(0.2, inplace=True),
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: F.leaky_relu_(x, 0.2),
    ],
    "prelu": [nn.PReLU(3, init=0.2), lambda x: F.prelu(x, torch.full((1,), 0.2).double())],
    "relu6": [
        nn.ReLU6(),
        nn.ReLU6(inplace=True),
        F.relu6,
        lambda x: F.hardtanh(x, 0.0, 6.0),
        lambda x: F.hardtanh(x, 0.0, 6.0, True),
        lambda x: F.hardtanh_(x, 0.0, 6.0),
        lambda x: torch.clamp(x, 0, 6),
        lambda x: x.clamp(min=0, max=6),
    ],
    "hardtanh": [nn.Hardtanh(), nn.Hardtanh(inplace=True), F.hardtanh, F.hardtanh_],
    "hardsigmoid": [nn.Hardsigmoid(), nn.Hardsigmoid(inplace=True), F.hardsigmoid],
    "hardswish": [nn.Hardswish(), nn.Hardswish(inplace=True), F.hardswish],
    "clamp": [lambda x: x.clamp(min=0), lambda x: x.clamp_min(0), lambda x: x.clamp_(min=0)],
}
BETA = 3.0


def softplus(x):
    return torch.log1p(torch.exp(BETA * x)) / BETA


EXPECTED = {
    "relu": softplus,
    "clamp": softplus,
    "leaky_relu": lambda x: 0.2 * x + 0.8 * softplus(x),
    "prelu": lambda x: 0.2 * x + 0.8 * softplus(x),
    "relu6": lambda x: softplus(x) - softplus(x - 6),
    "hardtanh": lambda x: softplus(x + 1) - softplus(x - 1) - 1,
    "hardsigmoid": lambda x: (softplus(x + 3) - softplus(x - 3)) / 6,
    "hardswish": lambda x: x * (softplus(x + 3) - softplus(x - 3)) / 6,
}
CASES = [(name, i) for name, forms in FORMS.items() for i in range(len(forms))]


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Discards(Calls):
    """Uses what an in-place call wrote, not what it returned."""

    def forward(self, x):
        y = 1 * x
        self.function(y)
        return y


@pytest.mark.parametrize(("name", "form"), CASES)
def test_each_form_is_replaced_by_its_closed_form(name, form):
    model, x = Calls(FORMS[name][form]).eval().double(), 4 * torch.randn(2, 3, 5).double()
    surrogate = smooth(model, beta=BETA)
    with torch.no_grad():
        torch.testing.assert_close(surrogate(x.clone()), EXPECTED[name](x))
    assert surrogate.replaced.total() == 1


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "relu6", "hardtanh", "hardswish"])
def test_it_becomes_the_original_as_beta_grows(name):
    model, x = Calls(FORMS[name][0]).eval().double(), 4 * torch.randn(2, 3, 5).double()
    gaps = [float((smooth(model, b)(x) - model(x)).abs().max()) for b in (1.0, 10.0, 1000.0)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-2


@pytest.mark.parametrize(
    "function", [F.relu_, lambda x: x.relu_(), nn.ReLU6(inplace=True), lambda x: x.clamp_(min=0)]
)
def test_in_place_writes_in_place_and_can_be_differentiated_twice(function):
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    surrogate = smooth(Discards(function).eval(), beta=2.0)
    assert torch.autograd.gradgradcheck(surrogate, (x,))
    with torch.no_grad():
        assert (surrogate(x) > 0).all()


def test_the_original_parameters_and_globals_stay_as_they_are():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.randn(2, 3)
    before = model(x)
    surrogate = smooth(model, beta=2.0)
    assert not torch.equal(surrogate(x), before)
    assert torch.equal(model(x), before)
    assert next(iter(surrogate.parameters())) is model[0].weight
    assert dict(surrogate.named_modules()).keys() == dict(model.named_modules()).keys()
    assert torch.equal(F.relu(-x.abs()), torch.zeros_like(x))


def test_other_clamps_are_left_alone():
    model = Calls(lambda x: x.clamp(min=1e-6) + F.relu(x)).eval()
    surrogate = smooth(model, beta=2.0)
    surrogate(torch.randn(3))
    assert dict(surrogate.replaced) == {"relu": 1}


def test_an_exported_program_is_smoothed():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Hardtanh()).eval()
    x = torch.randn(2, 3)
    program = torch.export.export(net, (x,)).module()
    surrogate = smooth(program, beta=2.0)
    torch.testing.assert_close(surrogate(x), smooth(net, beta=2.0)(x))
    assert surrogate.replaced.total() == 2


@pytest.mark.parametrize("activation", [nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Tanh()])
def test_a_network_that_is_smooth_already_stays_as_it_is(activation):
    net = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2)).eval()
    x = torch.randn(2, 3)
    surrogate = smooth(net)
    assert torch.equal(surrogate(x), net(x))
    assert not surrogate.replaced


def test_it_fails_loudly_where_there_is_nothing_to_replace():
    net = nn.Sequential(nn.Linear(3, 4), Calls(lambda x: x * (x > 0)), nn.Linear(4, 2)).eval()
    with (
        pytest.raises(SurefootError, match=r"no activation of Sequential was replaced.*beta=None"),
        smooth(net) as surrogate,
    ):
        surrogate(torch.randn(1, 3))
    with pytest.raises(SurefootError, match="beta=0, expected a positive number"):
        smooth(net, beta=0)
