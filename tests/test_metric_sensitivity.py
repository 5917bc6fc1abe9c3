"""Sensitivity and relative stability against loops and linear explainers in closed form."""

import functools

import pytest
import torch
from torch import nn

from measured import rand
from surefoot import SurefootError, explain, metric
from surefoot.metric._layers import find

make = functools.partial(rand, seed=1)

RANDOM = ["max_sensitivity", "average_sensitivity", "local_lipschitz"]
RELATIVE = [f"relative_{space}_stability" for space in ("input", "output", "representation")]


def make_net():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)]
    return nn.Sequential(*layers).double().requires_grad_(False).eval()


def get(name):
    return metric.get(name, **({"layer": "1"} if "representation" in name else {}))


def test_sensitivity_by_hand():
    h, h2 = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    x, x2 = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    assert metric.sensitivity(h, h2, x, x2).tolist() == [5, 0]
    assert metric.sensitivity(h, h2, x, x).isnan().all()
    with pytest.raises(SurefootError, match="2 maps for 1 images"):
        metric.sensitivity(h, h2, x[:1], x2[:1])


def changes(explainer, model, x, target, noise):
    """Norms of map, map change and input change, (N, V)."""
    before = explainer(model, x, target)
    moved = [(explainer(model, x + d, target) - before).flatten(1).norm(dim=1) for d in noise]
    sizes = torch.stack([d.norm() for d in noise])
    return before.flatten(1).norm(dim=1)[:, None], torch.stack(moved, 1), sizes


def test_random_sensitivities_by_loops():
    model, x, noise = make_net(), make(3, 4), make(7, 4, seed=2) - 0.5
    e, target = explain.Gradient(), torch.tensor([0, 1, 2])
    size, moved, way = changes(e, model, x, target, noise)
    expected = {
        "max_sensitivity": (moved / size).amax(1),
        "average_sensitivity": (moved / size).mean(1),
        "local_lipschitz": (moved / way).amax(1),
    }
    for name in RANDOM:
        found = getattr(metric, name)(e, model, x, target, noise=noise)
        torch.testing.assert_close(found, expected[name])


@pytest.mark.parametrize("name", RANDOM + RELATIVE)
def test_control_explainer_is_perfectly_stable(name):
    def control(model, inputs, target):
        return torch.ones_like(inputs)

    found = get(name)(control, make_net(), make(3, 4))
    assert torch.equal(found, torch.zeros(3, dtype=found.dtype))


def test_lipschitz_constant_of_a_scaled_input():
    model, x = make_net(), make(3, 4)
    found = metric.local_lipschitz(lambda model, inputs, target: 7 * inputs, model, x)
    torch.testing.assert_close(found, torch.full_like(found, 7))


def test_draws_fill_the_ball_and_depend_on_the_seed():
    model, x = make_net(), make(2, 4)
    seen = []

    def spy(model, inputs, target):
        seen.append(inputs)
        return inputs

    metric.max_sensitivity(spy, model, x, radius=0.3, samples=200, seed=3)
    moved = torch.cat(seen[1:]).view(2, -1, 4) - x[:, None]
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=1e-12)
    assert moved.abs().max() <= 0.3 + 1e-12
    assert moved.abs().max() > 0.29
    assert moved.mean().abs() < 0.05
    values = [metric.max_sensitivity(spy, model, x, seed=s, samples=3) for s in (0, 0, 1)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_zero_map_has_no_relative_change():
    def zero(model, inputs, target):
        return torch.zeros_like(inputs)

    assert metric.max_sensitivity(zero, make_net(), make(2, 4)).isnan().all()


def test_target_is_resolved_on_the_clean_images():
    model, x = make_net(), make(3, 4)
    held = model(x).argmax(1)
    for name in RANDOM + RELATIVE:
        one = get(name)
        resolved, given = (one(explain.Gradient(), model, x, t) for t in (None, held))
        assert torch.equal(resolved, given)


def test_relative_stability_by_loops():
    model, x = make_net(), make(4, 4)
    noise = make(6, 4, seed=2) - 0.5
    e, target = explain.Gradient(), torch.tensor([0, 1, 2, 0])
    maps, logits = e(model, x, target), model(x)
    hidden = model[1](model[0](x))
    found = {name: get(name)(e, model, x, target, noise=noise) for name in RELATIVE}
    for i in range(4):
        worst = dict.fromkeys(RELATIVE, -1.0)
        for d in noise:
            there = (x[i] + d)[None]
            if model(there).argmax() != logits[i].argmax():
                continue
            change = ((maps[i] - e(model, there, int(target[i]))[0]) / maps[i]).norm()
            ways = [
                (d / x[i]).norm(),
                (logits[i] - model(there)[0]).norm(),
                ((hidden[i] - model[1](model[0](there))[0]) / hidden[i]).norm(),
            ]
            for name, way in zip(RELATIVE, ways, strict=True):
                worst[name] = max(worst[name], float(change / way))
        for name in RELATIVE:
            assert found[name][i].item() == pytest.approx(worst[name])


def test_relative_stability_needs_a_kept_prediction():
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    model = nn.Linear(2, 2, bias=False).requires_grad_(False).eval()
    model.weight.copy_(weight)
    x = torch.tensor([[1.0, 0.5], [5.0, 0.5]])
    flip = torch.tensor([[-2.0, 0.0]])
    found = metric.relative_output_stability(lambda m, i, t: i, model, x, noise=flip)
    assert found[0].isnan()
    assert found[1].item() == pytest.approx((2 / 5) / 2)


def test_layers_by_name_or_module():
    model, x = make_net(), make(2, 4)
    run = metric.relative_representation_stability
    by_name = run(explain.Gradient(), model, x, layer="1", samples=3)
    assert torch.equal(run(explain.Gradient(), model, x, layer=model[1], samples=3), by_name)
    assert not model[1]._forward_hooks
    with pytest.raises(SurefootError, match="'one' is not a submodule"):
        run(explain.Gradient(), model, x, layer="one")
    with pytest.raises(SurefootError, match="not a submodule"):
        find(model, nn.ReLU())


def test_hooks_are_removed_after_an_error():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.head = Pair(), nn.Linear(4, 3).double()

        def forward(self, x):
            return self.head(self.pair(x)[0])

    model = Net().eval()
    with pytest.raises(SurefootError, match="returned tuple"):
        metric.relative_representation_stability(
            explain.Gradient(), model, make(1, 4), layer="pair"
        )
    assert not model.pair._forward_hooks


@pytest.mark.parametrize("name", RANDOM + RELATIVE)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"radius": 0.0}, "radius=0"),
        ({"noise": torch.zeros(2, 5)}, "noise is"),
        ({"noise": torch.zeros(0, 4)}, "noise is"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(SurefootError, match=message):
        get(name)(explain.Gradient(), make_net(), make(2, 4), **options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda m, i, t: i[:1], "1 maps for 2 inputs"),
        (lambda m, i, t: i / 0, "NaN or infinite"),
        (lambda m, i, t: None, "NoneType"),
    ],
)
def test_bad_explainers_are_refused(bad, message):
    with pytest.raises(SurefootError, match=message):
        metric.max_sensitivity(bad, make_net(), make(2, 4))


def test_extra_inputs_reach_model_and_explainer():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = make_net()

        def forward(self, x, gate):
            return self.head(x * gate)

    model, x, gate = Gated().eval(), make(3, 4), make(3, 4, seed=5)
    for name in ("max_sensitivity", "random_logit", "parameter_randomisation"):
        one = metric.get(name)
        whole = one(explain.Gradient(), model, x, 1, extra={"gate": gate})
        each = [
            one(explain.Gradient(), model, x[[i]], 1, extra={"gate": gate[[i]]}) for i in range(3)
        ]
        torch.testing.assert_close(torch.cat(each), whole)
    h = explain.heatmap(x)
    whole = metric.deletion(model, x, h, 1, extra={"gate": gate})
    each = [metric.deletion(model, x[[i]], h[[i]], 1, extra={"gate": gate[[i]]}) for i in range(3)]
    torch.testing.assert_close(torch.cat(each), whole)


def test_a_layer_that_runs_twice_counts_once_and_one_that_never_runs_is_refused():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.act, self.one, self.two = nn.Softplus(), nn.Linear(4, 5), nn.Linear(5, 3)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x))))

    net, x = Net().double().requires_grad_(False).eval(), make(2, 4)
    run = metric.relative_representation_stability
    flat = nn.Sequential(net.one, nn.Softplus(), net.two, nn.Softplus()).eval()
    torch.testing.assert_close(
        run(explain.Gradient(), net, x, layer="act"), run(explain.Gradient(), flat, x, layer="1")
    )
    with pytest.raises(SurefootError, match="not run"):
        run(explain.Gradient(), net, x, layer="unused")
