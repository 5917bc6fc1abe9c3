"""Parameter and class randomisation."""

import copy

import pytest
import torch
from torch import nn

from measured import rand
from surefoot import SurefootError, explain, metric


def make_net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 8), nn.Softplus(), nn.Linear(8, 4)).double().eval()


def seen_by(order, **options):
    """The models an explainer meets, copied, the original first."""
    models = []

    def spy(model, inputs, target):
        models.append(copy.deepcopy(model))
        return explain.Gradient()(model, inputs, target)

    net = make_net()
    result = metric.parameter_randomisation(
        spy, net, rand(3, 1, 6, 6, seed=1), 0, order=order, **options
    )
    return net, models, result


def differing(net, other):
    """Names of the layers whose parameters differ."""
    pairs = zip(net.named_parameters(), other.parameters(), strict=True)
    return {name.split(".")[0] for (name, p), q in pairs if not torch.equal(p, q)}


def test_cascading_goes_down_from_the_output_and_keeps_what_it_did():
    net, models, result = seen_by("cascading")
    assert list(result) == ["6", "4", "1", "0"]
    # A batch norm that was never trained is constant, so that redrawing leaves it as it is.
    expected = [set(), {"6"}, {"6", "4"}, {"6", "4"}, {"6", "4", "0"}]
    assert [differing(net, model) for model in models] == expected
    assert torch.equal(models[1][6].weight, models[4][6].weight)
    assert all(value.shape == (3,) for value in result.values())


def test_independent_changes_one_layer_at_a_time():
    net, models, _ = seen_by("independent")
    expected = [set(), {"6"}, {"4"}, set(), {"0"}]
    assert [differing(net, model) for model in models] == expected


def test_the_first_layer_changes_alike_in_both_orders():
    (_, one, a), (_, two, b) = seen_by("cascading"), seen_by("independent")
    assert torch.equal(one[1][6].weight, two[1][6].weight)
    assert torch.equal(a["6"], b["6"])


def test_layers_can_be_chosen_and_draws_follow_the_seed():
    net, models, result = seen_by("cascading", layers=["0"])
    assert list(result) == ["0"]
    assert differing(net, models[1]) == {"0"}
    other = seen_by("cascading", layers=["0"], seed=1)[1]
    assert not torch.equal(models[1][0].weight, other[1][0].weight)


def test_redrawn_parameters_keep_mean_and_spread():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 200)).eval()
    with torch.no_grad():
        model[0].weight.mul_(0.1).add_(3)
    met = []
    metric.parameter_randomisation(
        lambda m, x, t: met.append(m[0].weight.detach().clone()) or x, model, torch.rand(1, 200)
    )
    before, after = met
    assert after.mean().item() == pytest.approx(before.mean().item(), abs=1e-4)
    assert after.std().item() == pytest.approx(before.std().item(), rel=0.02)
    assert metric.pearson(before.view(1, -1), after.view(1, -1)).abs() < 0.05


def test_the_model_and_its_buffers_are_left_alone():
    net, models, _ = seen_by("cascading")
    fresh = make_net()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), fresh.parameters(), strict=True))
    for model in models:
        assert all(torch.equal(a, b) for a, b in zip(net.buffers(), model.buffers(), strict=True))


def test_a_map_that_ignores_the_model_is_found_out():
    net, images = make_net(), rand(3, 1, 6, 6, seed=1)
    ignores = metric.parameter_randomisation(lambda m, x, t: x, net, images)
    assert all(torch.equal(v, torch.ones(3, dtype=v.dtype)) for v in ignores.values())
    depends = metric.parameter_randomisation(explain.Gradient(), net, images)
    assert depends["0"].abs().max() < 0.9
    mean = metric.get("parameter_randomisation")(explain.Gradient(), net, images)
    torch.testing.assert_close(mean, torch.stack(list(depends.values())).mean(0))


def test_the_target_is_held_and_the_similarity_is_free():
    net, images = make_net(), rand(3, 1, 6, 6, seed=1)
    held = net(images).argmax(1)
    targets = []

    def spy(model, inputs, target):
        targets.append(target)
        return explain.Gradient()(model, inputs, target)

    result = metric.parameter_randomisation(spy, net, images, similarity=metric.l2)
    assert all(torch.equal(t, held) for t in targets)
    assert all((value >= 0).all() for value in result.values())
    assert result["0"].min() > 0


def test_random_logit_compares_with_another_class_for_every_seed():
    net, images = make_net(), rand(3, 1, 6, 6, seed=1)
    target, met = torch.tensor([0, 1, 3]), []

    def spy(model, inputs, target):
        met.append(target)
        return explain.Gradient()(model, inputs, target)

    others = set()
    for seed in range(12):
        metric.random_logit(spy, net, images, target, seed=seed)
        first, other = met[-2:]
        assert torch.equal(first, target)
        assert (other != target).all()
        assert ((other - target) % 4).unique().numel() == 1
        others.add(int(other[0]))
    assert others == {1, 2, 3}


def test_random_logit_by_hand():
    model = nn.Linear(3, 2, bias=False).eval().requires_grad_(False)
    model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]))
    found = metric.random_logit(lambda m, x, t: m.weight[t], model, torch.ones(2, 3), 0)
    assert found.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "up"}, "order"),
        ({"layers": ["conv"]}, "'conv' is not a submodule"),
        ({"layers": []}, "no layer"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(SurefootError, match=message):
        metric.parameter_randomisation(
            explain.Gradient(), make_net(), rand(3, 1, 6, 6, seed=1), **options
        )
