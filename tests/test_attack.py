"""Attacks on attributions: the laws every attack keeps, and that they beat random signs."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from surefoot import SurefootError, SurefootWarning, attack, metric, models
from surefoot.attack import L2, Linf, MassCenter, RandomSign, Target, TopK
from surefoot.explain import (
    Explainer,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    reduce,
)

BUDGET = Linf(8 / 255, steps=12)
K = 12


def network(activation=nn.ReLU):
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, 1, 1), activation(), nn.Conv2d(8, 8, 3, 2, 1), activation()]
    layers += [nn.Flatten(), nn.Linear(8 * 25, 24), activation(), nn.Linear(24, 4)]
    net = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for layer in layers[:-1]:
            if hasattr(layer, "weight"):
                layer.weight.mul_(3)  # curved enough that maps can move
    return net


@pytest.fixture
def net():
    return network()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(5, 3, 10, 10)


def attacks(budget, **settings):
    towards = torch.zeros(10, 10)
    towards[:5] = 1
    return [
        TopK(budget, k=K, **settings),
        MassCenter(budget, **settings),
        Target(budget, **settings),
        attack.Dissimilarity(budget, **settings),
        attack.Dissimilarity(budget, proxy="pearson", **settings),
        attack.Manipulation(budget, towards=towards, **settings),
        RandomSign(budget, **settings),
    ]


EXPLAINERS = [
    Gradient(),
    Gradient("probability"),
    InputXGradient(),
    IntegratedGradients(steps=4),
    SmoothGrad(samples=4, std=0.05),
    SmoothGrad(IntegratedGradients(steps=2), samples=2, std=0.05),
    SmoothGrad(samples=3, std=0.05, statistic="square"),
]
FINITE = EXPLAINERS[:5]


def random_mean(net, images, explainer, name, **settings):
    draws = [RandomSign(BUDGET, seed=s, **settings)(net, images, None, explainer) for s in range(8)]
    return float(torch.stack([r.scores[name] for r in draws]).mean())


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=repr)
@pytest.mark.parametrize("second_order", ["exact", "finite"])
def test_top_k_falls_far_below_random_signs(net, images, explainer, second_order):
    a = TopK(BUDGET, k=K, second_order=second_order)
    left = float(a(net, images, None, explainer).scores["topk_intersection"].mean())
    control = random_mean(net, images, explainer, "topk_intersection", k=K)
    assert left < (0.65 if "Integrated" in repr(explainer) else 0.4) * control


@pytest.mark.parametrize("place", range(6))
def test_each_attack_beats_random_signs_by_its_own_score(net, images, place):
    a = attacks(BUDGET)[place]
    r = a(net, images, None, Gradient())
    moved = RandomSign(BUDGET)(net, images, None, Gradient())
    held = a.hold(reduce(moved.before))
    control = a.score(reduce(moved.after), held)
    gained = (r.scores[a.score_name] - control) * (-1 if a.lower_is_damage else 1)
    assert (gained > 0).sum() >= 4
    assert gained.mean() > 0.1 * control.abs().mean()


@pytest.mark.parametrize("budget", [BUDGET, L2(0.5, steps=6, random_start=True, restarts=2)])
def test_every_result_is_feasible_keeps_its_label_and_scores_what_it_holds(net, images, budget):
    label = net(images).argmax(1)
    for a in attacks(budget):
        r = a(net, images, None, Gradient())
        assert r.label_kept.any(), a
        assert torch.equal(net(r.inputs).argmax(1), label)
        assert torch.equal(r.target, label)
        way = (r.inputs - images).flatten(1)
        size = way.norm(dim=1) if budget.norm == "l2" else way.abs().amax(1)
        assert (size <= budget.radius * (1 + 1e-5)).all()
        assert r.inputs.min() >= 0
        assert r.inputs.max() <= 1
        torch.testing.assert_close(r.before, Gradient()(net, images, label))
        torch.testing.assert_close(r.after, Gradient()(net, r.inputs, label))
        before, after = reduce(r.before), reduce(r.after)
        expected = {
            "topk_intersection": metric.topk_intersection(before, after, a.entries(before)),
            "kendall": metric.kendall(before, after),
            "spearman": metric.spearman(before, after),
            "cosine": metric.cosine(before, after),
            "mass_centre_shift": metric.mass_centre_shift(before, after),
        }
        for name, value in expected.items():
            torch.testing.assert_close(r.scores[name], value)


def test_a_lost_label_counts_as_undamaged(images):
    """Two opposite classes and an input on their border: random signs flip it or not."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 2)).eval()
    sign = RandomSign(Linf(0.1, bounds=(-1, 2)), k=5)
    moved = sign(net, images, None, InputXGradient()).inputs - images
    signs = moved[0].flatten()
    with torch.no_grad():  # class 1 leads by a little, and the signs drawn for seed 0 end that
        net[1].weight.copy_(torch.stack([signs, -signs]))
        net[1].bias.zero_()
        along = images.flatten(1) @ signs / signs.square().sum()
        x = images - (along + 0.01).view(-1, 1, 1, 1) * moved[0]
    r = RandomSign(Linf(0.1, bounds=(-2, 2)), k=5)(net, x, None, InputXGradient())
    assert not r.label_kept.any()
    assert torch.equal(r.inputs, x)
    assert torch.equal(r.after, r.before)
    assert (r.scores["topk_intersection"] == 1).all()
    assert "label kept 0 of 5" in repr(r)
    kept = RandomSign(Linf(0.0005, bounds=(-2, 2)), k=5)(net, x, None, InputXGradient())
    assert kept.label_kept.all()


@pytest.mark.parametrize("change", [{"epsilon": 0.0}, {"step_size": 0.0}, {"steps": 0}])
def test_no_room_no_step_no_change(net, images, change):
    everyone = attacks(replace(BUDGET, **change))
    # Random signs take no steps; they are the identity where there is no room.
    for a in everyone if "epsilon" in change else everyone[:-1]:
        r = a(net, images, None, Gradient())
        assert torch.equal(r.inputs, images)
        assert (r.scores["topk_intersection"] == 1).all()
        assert r.label_kept.all()


def test_random_signs_have_exactly_the_size(net):
    x = torch.full((3, 3, 10, 10), 0.5)
    r = RandomSign(Linf(0.125), k=K)(net, x, 0, Gradient())
    assert torch.equal((r.inputs - x).abs()[r.label_kept], torch.full_like(x, 0.125)[r.label_kept])
    assert 0.4 < (r.inputs[r.label_kept][0] > x[0]).float().mean() < 0.6
    small = RandomSign(L2(0.1), k=K)(net, x, 0, Gradient())
    length = (small.inputs - x).flatten(1).norm(dim=1)[small.label_kept]
    torch.testing.assert_close(length, torch.full_like(length, 0.1))
    other = RandomSign(L2(0.1), k=K, seed=1)(net, x, 0, Gradient())
    assert not torch.equal(other.inputs, small.inputs)
    edge = RandomSign(Linf(0.125), k=K)(net, torch.ones(1, 3, 10, 10), 0, Gradient())
    assert edge.inputs.max() == 1


@pytest.mark.parametrize("second_order", ["exact", "finite"])
@pytest.mark.parametrize("place", range(7))
def test_results_do_not_depend_on_the_batch(images, second_order, place):
    net, x = network().double(), images.double()
    a = attacks(replace(BUDGET, steps=5, restarts=2), second_order=second_order)[place]
    r = a(net, x, None, Gradient())
    flipped = a(net, x.flip(0), None, Gradient())
    torch.testing.assert_close(flipped.inputs.flip(0), r.inputs, rtol=0, atol=1e-10)
    for i in (0, 3):
        alone = a(net, x[i : i + 1], None, Gradient())
        torch.testing.assert_close(alone.inputs, r[i].inputs, rtol=0, atol=1e-10)
        torch.testing.assert_close(alone.scores, r[i].scores, rtol=0, atol=1e-8)


@pytest.mark.parametrize("place", range(7))
def test_restarts_never_make_it_weaker(net, images, place):
    budget = replace(BUDGET, steps=3)
    once, thrice = (attacks(budget, restarts=n)[place] for n in (1, 3))
    name, sign = once.score_name, -1 if once.lower_is_damage else 1
    damage = [sign * a(net, images, None, Gradient()).scores[name] for a in (once, thrice)]
    assert (damage[1] >= damage[0] - 1e-6).all()
    assert (damage[1] > damage[0] + 1e-6).any()


def test_the_trace_holds_each_step_and_its_best_is_the_result(net, images):
    r = TopK(replace(BUDGET, restarts=2), k=K, trace=True)(net, images, None, Gradient())
    assert r.trace.shape == (2, 13, 5)
    assert r.trace[0, 0].isnan().all()  # the clean input is no iterate
    assert not r.trace[1].isnan().any()
    lowest = r.trace.nan_to_num(nan=1).flatten(0, 1).amin(0)
    assert (r.scores["topk_intersection"] >= lowest - 1e-6).all()
    torch.testing.assert_close(r[2].trace, r.trace[..., 2:3], equal_nan=True)
    assert TopK(BUDGET, k=K)(net, images, None, Gradient()).trace is None


def test_a_sample_that_is_done_leaves_the_batch(net, images):
    full = TopK(BUDGET, k=K, trace=True)(net, images, None, Gradient())
    done = replace(full.attack, stop_at=0.6)(net, images, None, Gradient())
    score = done.scores["topk_intersection"]
    for i in range(len(images)):
        steps = full.trace[0, :, i]
        first = next((t for t in range(1, 13) if steps[t] <= 0.6), None)
        left = done.trace[0, :, i]
        if first is not None:
            assert score[i] <= 0.6
            torch.testing.assert_close(left[1 : first + 1], steps[1 : first + 1])
            assert left[first + 1 :].isnan().all()
    assert done.trace.isnan().sum() > full.trace.isnan().sum()
    far = MassCenter(BUDGET, stop_at=0.05, trace=True)(net, images, None, Gradient())
    assert far.trace[0, -1].isnan().any()
    assert (far.scores["mass_centre_shift"] >= 0.05).any()


def test_several_budgets_give_a_list(net, images):
    each = TopK(Linf([1 / 255, 4 / 255], steps=4), k=K)(net, images, None, Gradient())
    assert [r.attack.budget.epsilon for r in each] == [1 / 255, 4 / 255]
    alone = TopK(Linf(4 / 255, steps=4), k=K)(net, images, None, Gradient())
    assert torch.equal(each[1].inputs, alone.inputs)
    mixed = TopK([Linf([1 / 255, 2 / 255], steps=2), L2(0.2, steps=2)], k=K)
    assert [r.attack.budget.norm for r in mixed(net, images, None, Gradient())] == [
        "linf",
        "linf",
        "l2",
    ]


def test_transfer_scores_another_explainer_and_model(net, images):
    other = network(nn.Tanh)
    integrated = IntegratedGradients(steps=4)
    a = TopK(BUDGET, k=K)
    r = a(net, images, None, Gradient(), score_with=integrated, score_model=other)
    same = a(net, images, None, Gradient())
    clean = net(images).argmax(1)
    agree = r.label_kept
    assert agree.any()
    assert torch.equal(r.inputs[agree], same.inputs[agree])
    assert torch.equal(other(r.inputs).argmax(1), other(images).argmax(1))
    torch.testing.assert_close(r.before, integrated(other, images, clean))
    torch.testing.assert_close(r.after, integrated(other, r.inputs, clean))
    assert r.explainer == integrated
    direct = a(net, images, None, integrated).scores["topk_intersection"].mean()
    moved = a(net, images, None, Gradient(), score_with=integrated).scores["topk_intersection"]
    assert direct < moved.mean()


def test_seeds_and_calls_repeat(net, images):
    a = TopK(replace(BUDGET, random_start=True), k=K)
    first, again = (a(net, images, None, Gradient()).inputs for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, replace(a, seed=1)(net, images, None, Gradient()).inputs)


def test_nothing_of_the_callers_is_changed(net, images):
    x, state = images.clone(), torch.random.get_rng_state()
    with torch.inference_mode():
        inside = TopK(BUDGET, k=K, restarts=2)(net, images, None, Gradient()).inputs
    torch.testing.assert_close(
        inside, TopK(BUDGET, k=K, restarts=2)(net, images, None, Gradient()).inputs
    )
    assert torch.equal(images, x)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None for p in net.parameters())


def test_progress_counts_the_steps(net, images):
    seen = []
    a = TopK(replace(BUDGET, steps=3, restarts=2), k=K, progress=lambda *now: seen.append(now))
    a(net, images, None, Gradient())
    assert seen == [(0, 6), (1, 6), (2, 6), (3, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert "progress" not in repr(a)


def test_the_reduction_serves_objective_and_scores(net, images):
    a = TopK(BUDGET, k=K, reduction="max_abs")
    r = a(net, images, None, Gradient())
    expected = metric.topk_intersection(reduce(r.before, "max_abs"), reduce(r.after, "max_abs"), K)
    torch.testing.assert_close(r.scores["topk_intersection"], expected)
    assert "reduction='max_abs'" in repr(r)


def test_records_and_tokens_are_attacked_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 3)).eval()
    x = torch.rand(4, 20)
    r = TopK(Linf(0.2, steps=10), k=4)(net, x, None, Gradient())
    assert r.scores["topk_intersection"].mean() < 0.6
    assert "mass_centre_shift" not in r.scores
    flat, short = nn.Sequential(nn.Flatten(), net).eval(), TopK(Linf(0.2, steps=4), k=2)
    for layout in ("tokens", "signal"):
        model = models.Classifier(flat, layout=layout)
        assert short(model, x.view(4, 5, 4), None, Gradient()).label_kept.any()


def test_extra_inputs_go_with_their_samples(images):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, mask):
            return self.net(x * mask)

    model, mask = Masked().eval().double(), (torch.rand(5, 1, 10, 10) > 0.3).double()
    a, x = TopK(replace(BUDGET, steps=4), k=K, stop_at=0.7), images.double()
    r = a(model, x, None, Gradient(), extra={"mask": mask})
    alone = a(model, x[3:4], None, Gradient(), extra={"mask": mask[3:4]})
    torch.testing.assert_close(alone.inputs, r[3].inputs, rtol=0, atol=1e-10)


def test_a_flat_map_warns(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 2)).eval()
    with pytest.warns(SurefootWarning, match="has no slope at the clean inputs"):
        TopK(BUDGET, k=K)(net, images, None, Gradient())
    with pytest.warns(SurefootWarning, match="has no slope"):
        TopK(BUDGET, k=K, beta=None, second_order="exact")(network(), images, None, Gradient())


ERRORS = [
    (TopK(BUDGET), {}, "k=1000, but a map has 100 entries"),
    (TopK(replace(BUDGET, bounds=(0, 0.5)), k=K), {}, "leave bounds"),
    (Target(BUDGET, region=torch.ones(3, 3).bool()), {}, r"region has shape \(3, 3\), expected"),
    (Target(BUDGET, region=torch.ones(10, 10)), {}, "region must be a bool tensor"),
    (attack.Manipulation(BUDGET), {}, r"towards is \(0,\), expected a map shaped like"),
    (attack.Manipulation(BUDGET, towards=torch.zeros(10, 10)), {}, "some positive ones"),
    (MassCenter(BUDGET, reduction="sum"), {}, "reads a map as mass"),
    (attack.Dissimilarity(BUDGET, proxy="l2"), {}, "proxy='l2', choose one of"),
    (TopK(BUDGET, k=K, second_order="third"), {}, "second_order='third', choose one of"),
    (TopK(BUDGET, k=K, beta="soft"), {}, "beta='soft', expected"),
    (TopK(BUDGET, k=K, beta=(0, 10)), {}, r"beta=\(0, 10\), expected positive numbers"),
    (TopK(BUDGET, k=K, difference=0.0), {}, "difference=0.0, expected a positive number"),
    (TopK(BUDGET, k=K, subset=0), {}, "subset=0: expected refresh >= 1"),
    (TopK(BUDGET, k=K, candidates=0), {}, "candidates=0, expected at least 1"),
    (TopK(0.1, k=K), {}, "budget=0.1, expected attack.Linf"),
    (TopK([], k=K), {}, r"budget=\[\], expected attack.Linf"),
    (TopK(BUDGET, k=K, reduction="median"), {}, "reduction='median' is unknown"),
    (TopK(BUDGET, k=K), {"explainer": lambda m, x, t: x}, "cannot be differentiated; use a built"),
    (TopK(BUDGET, k=K), {"explainer": Gradient}, "write Gradient"),
    (TopK(BUDGET, k=K), {"target": 9}, "the model has 4 outputs"),
]


@pytest.mark.parametrize(("a", "change", "message"), ERRORS)
def test_bad_input_is_named(net, images, a, change, message):
    call = {"target": None, "explainer": Gradient()} | change
    with pytest.raises(SurefootError, match=message):
        a(net, images, call["target"], call["explainer"])


@dataclass(frozen=True, repr=False)
class Detached(Explainer):
    """Says nothing of not being differentiable."""

    def attribute(self, request):
        return request.inputs.detach()


def test_more_bad_input(net, images):
    with pytest.raises(SurefootError, match=r"the explainer's map has no graph.*score_with="):
        TopK(BUDGET, k=K)(net, images, None, Detached())
    with pytest.raises(SurefootError, match="training mode"):
        TopK(BUDGET, k=K)(network().train(), images, None, Gradient())
    with pytest.raises(SurefootError, match="training mode"):
        TopK(BUDGET, k=K)(net, images, None, Gradient(), score_model=network().train())
    records = nn.Sequential(nn.Linear(20, 3)).eval()
    with pytest.raises(SurefootError, match=r"MassCenter needs maps over a plane \(N, H, W\)"):
        MassCenter(BUDGET)(records, torch.rand(2, 20), 0, Gradient())
    with pytest.raises(SurefootError, match=r"no activation .* was replaced"):
        TopK(BUDGET, k=2, beta=5.0)(records, torch.rand(2, 20), 0, Gradient())


def test_recipes_show_what_differs_and_compare_by_value():
    a = TopK(Linf(0.1, steps=5), k=20, stop_at=0.1)
    assert repr(a) == "TopK(Linf(0.1, steps=5), k=20, stop_at=0.1)"
    region = torch.ones(4, 4).bool()
    assert Target(BUDGET, region=region) == Target(BUDGET, region=region.clone())
    assert hash(Target(BUDGET, region=region)) == hash(Target(BUDGET, region=region.clone()))
    assert Target(BUDGET, region=region) != Target(BUDGET)


def test_of_several_candidates_the_scored_map_takes_its_worst(net, images):
    rough, fine = IntegratedGradients(steps=2), IntegratedGradients(steps=64)
    settings = {"k": 15, "second_order": "finite"}
    one, five = (
        TopK(Linf(0.1, steps=20), **settings, candidates=count)(
            net, images, None, rough, score_with=fine
        )
        for count in (1, 5)
    )
    left = [r.scores["topk_intersection"] for r in (one, five)]
    assert (left[1] <= left[0]).all()
    assert (left[1] < left[0]).any()
    target = net(images).argmax(1)
    torch.testing.assert_close(five.after, fine(net, five.inputs, target))
    again = TopK(Linf(0.1, steps=20), **settings, candidates=5)(net, images, None, rough)
    same = TopK(Linf(0.1, steps=20), **settings)(net, images, None, rough)
    own = "topk_intersection"  # the best by the attacked map itself is among the five
    torch.testing.assert_close(again.scores[own], same.scores[own])
