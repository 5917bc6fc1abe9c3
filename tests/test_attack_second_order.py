"""The slope of an objective of a map: against differences of the objective, and each other."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from surefoot import SurefootError, gradients
from surefoot.attack import _second_order as second, check_second_order
from surefoot.attack._objectives import shares
from surefoot.attack._views import Adaptive, Exact, Finite, Moment
from surefoot.explain import (
    Decoy,
    ExpectedGradients,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    reduce,
)

BASELINE = torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(0)).double()
KNOWN = [
    Gradient(),
    Gradient("probability"),
    InputXGradient(),
    IntegratedGradients(steps=3),
    IntegratedGradients(steps=3, baseline=BASELINE, quadrature="trapezoid"),
    IntegratedGradients(steps=2, baseline=lambda x: x.mean((2, 3), keepdim=True)),
    SmoothGrad(samples=3, std=0.1),
]
OTHERS = [
    SmoothGrad(InputXGradient(), samples=2, std=0.1),
    SmoothGrad(samples=3, std=0.1, statistic="variance"),
    ExpectedGradients(torch.linspace(0, 1, 768).view(4, 3, 8, 8).double(), samples=3),
]


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.Softplus(beta=4), nn.Conv2d(4, 4, 3), nn.Softplus()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)).double().eval()


@pytest.fixture
def moment(net):
    torch.manual_seed(1)
    x = torch.rand(3, 3, 8, 8).double()
    x[:, :, :2] = 0  # where the way from a black baseline is zero
    request = gradients.query(net, x, None)
    return Moment(request, torch.arange(3), step=0, beta=None, difference=1e-5)


def objective(maps, which):
    weights = torch.sin(torch.arange(64.0).double() * (which[:, None] + 1)).view(-1, 8, 8)
    return (shares(reduce(maps)) * weights).flatten(1).sum(1)


def measured(value, x, way, step=1e-6):
    return (value(x + step * way) - value(x - step * way)) / (2 * step)


def held_baseline(explainer, x):
    """A baseline that depends on the inputs counts as a constant in the derivative."""
    if callable(getattr(explainer, "baseline", None)):
        return replace(explainer, baseline=explainer.baseline(x).expand_as(x))
    return explainer


@pytest.mark.parametrize("explainer", KNOWN + OTHERS, ids=repr)
def test_double_backward_is_the_objectives_slope(explainer, moment):
    request, held = moment.request, held_baseline(explainer, moment.request.inputs)
    rise = Exact(explainer).look(moment).rise

    def value(x):
        return objective(held.attribute(replace(request, inputs=x)).detach(), moment.which)

    way = torch.randn_like(request.inputs)
    along = (rise(objective) * way).flatten(1).sum(1)
    torch.testing.assert_close(along, measured(value, request.inputs, way), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("explainer", KNOWN, ids=repr)
def test_differences_agree_with_double_backward(explainer, moment):
    assert second.has_finite(explainer)
    maps, rise, _ = Finite(explainer).look(moment)
    exact_maps, exact_rise, _ = Exact(explainer).look(moment)
    torch.testing.assert_close(maps(), exact_maps())
    true = exact_rise(objective)
    torch.testing.assert_close(rise(objective), true, rtol=0, atol=1e-4 * float(true.abs().max()))


@pytest.mark.parametrize("explainer", OTHERS, ids=repr)
def test_other_forms_are_not_taken_for_known_ones(explainer):
    assert not second.has_finite(explainer)


def test_a_central_difference_is_better_than_a_forward_one(moment):
    e = Gradient()
    parts = second.factors(e, moment.request)
    v = torch.randn_like(parts.mean)
    true = Exact(e).look(moment)[1](lambda maps, which: (maps * v[which]).flatten(1).sum(1))
    errors = [
        float((second.finite(e, moment.request, parts, v, 1e-3, central=c) - true).norm())
        for c in (False, True)
    ]
    assert errors[1] < errors[0] / 10


@pytest.mark.parametrize("base", [Gradient(), IntegratedGradients(steps=2)], ids=repr)
@pytest.mark.parametrize("aggregate", ["range", "mean"])
def test_decoy_maps_change_through_max_minus_min_with_offsets_held(base, aggregate, moment):
    """Offsets at random: true decoys tie in many places, where a range has no derivative."""
    decoy = Decoy(base, layer="0", aggregate=aggregate)
    moment, request = replace(moment, step=1), moment.request  # between two searches
    offsets = 0.2 * torch.randn(3, 6, 3, 8, 8).double()
    held = dict(enumerate(offsets))
    views = [Adaptive(decoy, finite, 10, None, 0, held) for finite in (True, False)]
    differ, exact = (view.look(moment).rise for view in views)

    def value(x):
        at = decoy.at_offsets(request.model, x, offsets, request.target, create_graph=False)
        return objective(at, moment.which)

    true = exact(objective)
    scale = float(true.abs().max())
    torch.testing.assert_close(differ(objective), true, rtol=0, atol=1e-4 * scale)
    way = torch.randn_like(request.inputs)
    along = (true * way).flatten(1).sum(1)
    torch.testing.assert_close(along, measured(value, request.inputs, way), rtol=1e-4, atol=1e-8)


def test_true_decoys_tie_and_both_ways_share_alike(moment):
    moment = replace(moment, difference=1e-6)
    decoy = Decoy(Gradient(), layer="0", patch=1, stride=2, decoys=16, include_original=True)
    slopes = []
    for finite in (True, False):
        view = Adaptive(decoy, finite, refresh=10, subset=None, seed=0, held={})
        slopes.append(view.look(moment)[1](objective))
    found = decoy.offsets(moment.request.model, moment.request.inputs)
    assert torch.equal(torch.stack([view.held[i] for i in range(3)])[:, :-1], found)
    assert (view.held[0][-1] == 0).all()
    maps = view.look(replace(moment, step=1))[0]()
    expected = decoy(moment.request.model, moment.request.inputs, moment.request.target)
    torch.testing.assert_close(maps, expected)
    scale = float(slopes[1].abs().max())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-4 * scale)


def test_a_subset_of_decoys_is_drawn_for_each_step_and_shared(moment):
    view = Adaptive(Decoy(Gradient(), layer="0", patch=1, stride=2, decoys=16), True, 10, 3, 0, {})
    view._search(moment)
    first, later = view._drawn(moment), view._drawn(replace(moment, step=1))
    assert first.shape == (3, 3, 3, 8, 8)
    assert not torch.equal(first, later)
    assert torch.equal(first, view._drawn(moment))
    some = replace(moment, which=torch.tensor([2]))
    assert torch.equal(view._drawn(some), first[2:])


def test_tiny_gradients_do_not_underflow(net, moment):
    with torch.no_grad():
        net[-1].weight.mul_(1e-30)
    float32 = net.float()
    request = gradients.query(float32, moment.request.inputs.float(), moment.request.target)
    small = replace(moment, request=request, difference=1e-3)
    parts = second.factors(Gradient(), request)
    slope = Finite(Gradient()).look(small)[1](objective)
    assert parts.mean.abs().max() < 1e-28
    assert (slope.flatten(1) != 0).double().mean() > 0.9


@pytest.mark.parametrize("explainer", KNOWN[:5], ids=repr)
def test_the_check_finds_agreement_on_a_network_of_relus(explainer):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 3)).double().eval()
    found = check_second_order(net, torch.rand(3, 3, 8, 8).double(), None, explainer)
    assert found.beta == 30
    assert (found.cosine > 0.9999).all()
    assert (found.sign >= 0.99).all()
    assert repr(found).startswith("Agreement(on softplus beta=30: cosine 1.0000")


def test_the_check_sees_a_difference_that_is_too_large(net, moment):
    x = moment.request.inputs
    good, bad = (check_second_order(net, x, 0, Gradient(), difference=d) for d in (1e-4, 3.0))
    assert good.beta is None
    assert "the model itself" in repr(good)
    assert bad.cosine.max() < good.cosine.min()
    with pytest.raises(SurefootError, match="double backward in any case; check Gradient"):
        check_second_order(net, x, 0, OTHERS[0])


def test_fused_attention_has_a_second_derivative():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.read, self.write = nn.Linear(8, 24), nn.Linear(8, 3)

        def forward(self, x):
            q, k, v = self.read(x).chunk(3, -1)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.write(mixed.tanh().mean(1))

    torch.manual_seed(0)
    found = check_second_order(
        Attention().eval().double(),
        torch.rand(2, 4, 8).double(),
        0,
        Gradient(),
        k=1,
        layout="tokens",
    )
    assert found.cosine.min() > 0.9999
