"""Exact certificates: nothing found inside a ball lies outside its bounds, and bounds are tight."""

import itertools

import pytest
import torch
from torch import nn

from surefoot import attack, certify, explain, models
from surefoot.certify._interval import Interval
from surefoot.certify._places import certain, overlap
from surefoot.errors import SurefootError
from surefoot.explain import Gradient, InputXGradient, IntegratedGradients, SmoothGrad


def made(seed, *layers):
    """A network in float64 and evaluation mode; `layers` are made under the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(*(make() for make in layers)).double().eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return net


class Residual(nn.Module):
    """x + f(x), then a product of two branches, as squeeze and excitation have it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1), nn.Sigmoid())

    def forward(self, x):
        x = torch.cat([x, 1 - x], 1)
        x = torch.relu(x + self.body(x))
        return x * self.gate(x)


def dense(size, seed):
    return made(
        seed,
        lambda: nn.Linear(size, 8),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.Linear(8, 6),
        lambda: nn.LeakyReLU(0.2),
        lambda: nn.Linear(6, 3),
    )


def pooled(seed):
    """Of (N, 1, 3, 4): twelve inputs."""
    return made(
        seed,
        lambda: nn.Conv2d(1, 3, 2, padding=1, bias=False),
        lambda: nn.BatchNorm2d(3),
        nn.ReLU6,
        lambda: nn.MaxPool2d(2, stride=1),
        lambda: nn.PReLU(3),
        lambda: nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten,
        lambda: nn.Linear(12, 3),
    )


def residual(seed):
    """Of (N, 1, 2, 3)."""
    return made(seed, Residual, nn.Flatten, lambda: nn.Linear(12, 3))


def curved(size, seed):
    return made(
        seed,
        lambda: nn.Linear(size, 5),
        nn.Tanh,
        lambda: nn.Linear(5, 5),
        nn.Softplus,
        lambda: nn.Linear(5, 4),
        nn.Sigmoid,
        lambda: nn.Hardtanh(0.1, 0.6),
        lambda: nn.Linear(4, 3),
    )


def points_in(x, radius, count, seed):
    """All corners of each ball, or some, and random points; (N, P, ...), inside [0, 1]."""
    size = x[0].numel()
    source = torch.Generator().manual_seed(seed)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=min(size, 6))))
    if size > 6:
        corners = torch.randint(0, 2, (64, size), generator=source) * 2.0 - 1
    inner = torch.rand(count, size, generator=source) * 2 - 1
    ways = torch.cat([corners, inner, torch.zeros(1, size)]).to(x)
    return (x[:, None] + radius * ways.view(1, -1, *x.shape[1:])).clamp(0, 1)


def found(explainer, net, points, target):
    """The maps at (N, P, ...) of each sample's target."""
    flat = points.flatten(0, 1)
    return explainer(net, flat, target.repeat_interleave(points.shape[1])).view_as(points)


NETS = {
    "two inputs": (lambda s: dense(2, s), (2,), 0.3),
    "six inputs": (lambda s: dense(6, s), (6,), 0.1),
    "pooling": (pooled, (1, 3, 4), 0.05),
    "residual": (residual, (1, 2, 3), 0.1),
    "smooth": (lambda s: curved(3, s), (3,), 0.2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETS)
def test_a_thousand_balls_searched_hold_no_gradient_out_of_bounds(name, dtype):
    """A hundred balls for each network and dtype, each looked at in at least 160 points."""
    make, shape, radius = NETS[name]
    for seed in range(2):
        net = make(seed).to(dtype)
        x = torch.rand(50, *shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        target = net(x).argmax(1)
        for share in (0.02, 1.0):
            low, high = certify.gradient_bounds(net, x, target, radius=share * radius)
            g = found(Gradient(), net, points_in(x, share * radius, 100, seed), target)
            assert (g >= low[:, None]).all()
            assert (g <= high[:, None]).all()


def test_a_grid_over_two_inputs_holds_none_either():
    net = dense(2, 3)
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)).double()
    target = net(x).argmax(1)
    low, high = certify.gradient_bounds(net, x, target, radius=0.2)
    line = torch.linspace(-0.2, 0.2, 41).double()
    points = (x[:, None] + torch.cartesian_prod(line, line)).clamp(0, 1)
    g = found(Gradient(), net, points, target)
    assert (g >= low[:, None]).all()
    assert (g <= high[:, None]).all()
    # And they are of use: most of what they allow is reached.
    reached = (g.amax(1) - g.amin(1)).sum() / (high - low).sum()
    assert reached > 0.6


@pytest.mark.parametrize("score", ["probability", "log_probability", "loss", "margin"])
def test_every_score_is_bounded(score):
    net = dense(4, 1)
    x = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)).double()
    target = torch.arange(40) % 3
    low, high = certify.gradient_bounds(net, x, target, radius=0.1, score=score)
    g = found(Gradient(score), net, points_in(x, 0.1, 200, 0), target)
    assert (g >= low[:, None]).all()
    assert (g <= high[:, None]).all()
    reached = (g.amax(1) - g.amin(1)).sum() / (high - low).sum()
    assert reached > 0.1


@pytest.mark.parametrize(
    "explainer",
    [
        InputXGradient(),
        IntegratedGradients(steps=4, baseline=0.3),
        SmoothGrad(Gradient(), samples=3, std=0.1),
        SmoothGrad(InputXGradient("probability"), samples=2, std=0.1),
    ],
    ids=repr,
)
def test_maps_made_of_gradients_are_bounded(explainer):
    net = dense(4, 2)
    x = torch.rand(30, 4, generator=torch.Generator().manual_seed(2)).double()
    target = net(x).argmax(1)
    low, high = certify.map_bounds(explainer, net, x, target, radius=0.05)
    maps = found(explainer, net, points_in(x, 0.05, 100, 0), target)
    assert (maps >= low[:, None]).all()
    assert (maps <= high[:, None]).all()
    zero = certify.map_bounds(explainer, net, x, target, radius=0)
    assert torch.equal(zero[0], explainer(net, x, target))
    assert torch.equal(zero[1], zero[0])


@pytest.mark.parametrize("name", NETS)
def test_at_radius_zero_the_bounds_are_the_map_and_near_zero_they_near_it(name):
    make, shape, _ = NETS[name]
    net = make(0)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(5)).double() * 0.8 + 0.1
    g = Gradient()(net, x)
    low, high = certify.gradient_bounds(net, x, radius=0)
    assert torch.equal(low, g)
    assert torch.equal(high, g)
    low, high = certify.gradient_bounds(net, x, radius=1e-10)
    torch.testing.assert_close(low, g, rtol=0, atol=1e-7)
    torch.testing.assert_close(high, g, rtol=0, atol=1e-7)


def test_one_hidden_layer_is_bounded_by_its_exact_range():
    """Each unit that the ball's hyperplane crosses adds min(0, w) and max(0, w) of its weights."""
    net = made(4, lambda: nn.Linear(3, 7), nn.ReLU, lambda: nn.Linear(7, 2))
    x = torch.rand(30, 3, generator=torch.Generator().manual_seed(4)).double() * 0.6 + 0.2
    first, second = net[0].weight, net[2].weight
    middle, reach = net[0](x), 0.1 * first.abs().sum(1)
    on, crossed = middle > reach, middle.abs() <= reach
    each = second[1][:, None] * first  # (7, 3)
    sure = torch.einsum("nu,ui->ni", on.double(), each)
    low = sure + torch.einsum("nu,ui->ni", crossed.double(), each.clamp_max(0))
    high = sure + torch.einsum("nu,ui->ni", crossed.double(), each.clamp_min(0))
    assert crossed.any()
    got = certify.gradient_bounds(net, x, 1, radius=0.1)
    torch.testing.assert_close(got, (low, high), rtol=0, atol=1e-12)


def test_linear_bounds_are_never_looser_and_mostly_tighter():
    net = made(
        6,
        lambda: nn.Linear(8, 16),
        nn.ReLU,
        lambda: nn.Linear(16, 16),
        nn.ReLU,
        lambda: nn.Linear(16, 16),
        nn.ReLU,
        lambda: nn.Linear(16, 2),
    )
    x = torch.rand(10, 8, generator=torch.Generator().manual_seed(6)).double()
    pairs = {
        method: certify.gradient_bounds(net, x, 0, radius=0.02, method=method)
        for method in ("linear", "interval", "auto")
    }
    widths = {method: high - low for method, (low, high) in pairs.items()}
    assert (widths["linear"] <= widths["interval"] + 1e-12).all()
    assert widths["linear"].sum() < 0.6 * widths["interval"].sum()
    assert torch.equal(widths["auto"], widths["linear"])


def test_bounds_do_not_depend_on_the_batch_and_stay_within_the_box():
    net = dense(3, 7)
    x = torch.rand(6, 3, generator=torch.Generator().manual_seed(7)).double()
    low, high = certify.gradient_bounds(net, x, 0, radius=0.1)
    alone = certify.gradient_bounds(net, x[2:3], 0, radius=0.1)
    torch.testing.assert_close(alone, (low[2:3], high[2:3]))
    # A box of one point leaves nothing to move.
    nothing = certify.gradient_bounds(net, x[:1], 0, radius=0.5, bounds=(x[0], x[0]))
    torch.testing.assert_close(nothing[1], nothing[0], rtol=0, atol=1e-10)


def test_normalisation_inside_the_model_and_images_of_the_library_count(net):
    model = models.Classifier(net, mean=(0.4, 0.5, 0.6), std=0.2).eval()
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    target = model(x).argmax(1)
    low, high = certify.gradient_bounds(model, x, target, radius=1 / 2550)
    g = found(Gradient(), model, points_in(x, 1 / 2550, 5, 0), target)
    assert (g >= low[:, None]).all()
    assert (g <= high[:, None]).all()
    assert (high - low).mean() < 0.1 * g.abs().mean()


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_what_cannot_be_bounded_is_named():
    x = torch.rand(2, 4)
    with pytest.raises(SurefootError, match=r"aten\.erf"):
        certify.gradient_bounds(Odd(torch.erf).eval(), x, radius=0.1)
    branching = Odd(lambda v: v if v.sum() > 0 else -v).eval()
    with pytest.raises(SurefootError, match="cannot be recorded"):
        certify.gradient_bounds(branching, x, radius=0.1)
    itself = explain.Function(lambda m, i, t: i)
    with pytest.raises(SurefootError, match="no exact bounds"):
        certify.map_bounds(itself, nn.Linear(4, 2).eval(), x, radius=0)
    with pytest.raises(SurefootError, match="radius=-1"):
        certify.gradient_bounds(nn.Linear(4, 2).eval(), x, radius=-1)
    with pytest.raises(SurefootError, match="leave bounds"):
        certify.gradient_bounds(nn.Linear(4, 2).eval(), x + 1, radius=0.1)


def test_a_gradient_that_is_not_that_of_the_operations_is_refused():
    class Hidden(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                scale = torch.relu(x)
            return x + scale

    with pytest.raises(SurefootError, match="not that of its operations"):
        certify.gradient_bounds(Hidden().eval(), torch.rand(2, 3), radius=0.1)
    detached = Odd(lambda v: v * 2 + torch.relu(v.detach())).eval()
    low, high = certify.gradient_bounds(detached, torch.rand(2, 3), 1, radius=0.1)
    torch.testing.assert_close(low, torch.tensor([[0.0, 2, 0]]).expand(2, 3))
    torch.testing.assert_close(high, low)


def worst_overlap(low, high, inside, k):
    """By trying every corner of the box, (N,); ties go against the inside."""
    worst = torch.ones(len(low), dtype=torch.float64)
    for ends in itertools.product((0, 1), repeat=low.shape[1]):
        values = torch.where(torch.tensor(ends).bool(), high, low)
        kept = (values - 1e-9 * inside).topk(k, 1).indices
        worst = worst.minimum(inside.gather(1, kept).double().mean(1))
    return worst


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_overlap_is_the_worst_corner_of_the_box_and_certain_places_stay(k):
    source = torch.Generator().manual_seed(k)
    values = torch.rand(60, 6, generator=source).double()
    low = values - 0.3 * torch.rand(60, 6, generator=source).double()
    high = values + 0.3 * torch.rand(60, 6, generator=source).double()
    inside = torch.zeros(60, 6, dtype=torch.bool).scatter_(1, values.topk(k, 1).indices, True)
    box = Interval(low, high)
    torch.testing.assert_close(overlap(box, inside, k), worst_overlap(low, high, inside, k))
    mask = certain(box, k)
    may = torch.zeros(60, 6, dtype=torch.bool)
    must = torch.ones(60, 6, dtype=torch.bool)
    for ends in itertools.product((0, 1), repeat=6):
        values = torch.where(torch.tensor(ends).bool(), high, low)
        among = torch.zeros(60, 6, dtype=torch.bool).scatter_(1, values.topk(k, 1).indices, True)
        may, must = may | among, must & among
    assert torch.equal(mask == 1, must)
    assert torch.equal(mask == 0, ~may)


@pytest.mark.parametrize("reduction", ["sum_abs", "max_abs", "sum", "mean"])
def test_no_attack_gets_below_the_floor(reduction):
    net = pooled(1)
    x = torch.rand(12, 1, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    c = certify.Exact(Gradient(), radius=0.01, k=4, reduction=reduction)(net, x)
    budget = attack.Linf(0.01, steps=10)
    r = attack.TopK(budget, k=4, reduction=reduction, beta=None)(net, x, c.target, Gradient())
    assert (r.scores["topk_intersection"] >= c.overlap).all()
    before = explain.reduce(r.before, reduction).flatten(1).topk(4, 1).indices
    after = explain.reduce(r.after, reduction).flatten(1).topk(4, 1).indices
    mask = c.mask.flatten(1)
    for top in (before, after):
        among = torch.zeros_like(mask).scatter_(1, top, 1)
        assert (among[mask == 1] == 1).all()
        assert (among[mask == 0] == 0).all()
    assert c.mask.shape == (12, 3, 4)
    assert c.overlap.mean() > 0.3
    assert c.failure == 0
    assert "exact" in repr(c)


def test_certificates_of_nothing_are_whole():
    net = dense(4, 0)
    c = certify.Exact(IntegratedGradients(steps=2), radius=0, k=2)(net, torch.rand(3, 4).double())
    assert c.maps == 2
    assert torch.equal(c.overlap, torch.ones(3).double())
    assert torch.equal(c.certified_in, torch.ones(3).double())
    assert torch.equal(c.certified_out, torch.ones(3).double())
