"""The ensemble: inside its budget, at least as strong as its parts, and aware of what hides."""

import importlib
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from surefoot import SurefootError, SurefootWarning, attack, gradients, metric
from surefoot.attack import L2, Ensemble, Linf, RandomSign, TopK, smooth
from surefoot.attack._ensemble_members import cost
from surefoot.attack._ensemble_objectives import ranks, swap
from surefoot.budget import Box
from surefoot.explain import (
    Decoy,
    Explainer,
    Function,
    Gradient,
    IntegratedGradients,
)
from surefoot.maps import average, top

K = 12
BUDGET = Linf(0.05, steps=5)


def network(activation=nn.ReLU):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, 1, 1),
            activation(),
            nn.Conv2d(6, 6, 3, 2, 1),
            activation(),
            nn.Flatten(),
            nn.Linear(6 * 16, 4),
        ).eval()
        with torch.no_grad():
            for layer in net[:3:2]:
                layer.weight.mul_(3)
    return net


@pytest.fixture
def net():
    return network()


@pytest.fixture
def images():
    return torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def left(result, name="topk_intersection"):
    return float(result.scores[name].mean())


@pytest.mark.parametrize(
    ("budget", "explainer"),
    [(BUDGET, IntegratedGradients(steps=2)), (L2(0.4, steps=4), Gradient())],
    ids=["linf", "l2"],
)
def test_every_input_is_inside_its_budget_keeps_its_label_and_scores_what_it_holds(
    net, images, budget, explainer
):
    r = Ensemble(budget, k=K)(net, images, None, explainer)
    box = Box(images, torch.zeros(2, 8, 8), torch.ones(2, 8, 8))
    torch.testing.assert_close(budget.project(r.inputs, box), r.inputs, rtol=0, atol=1e-7)
    assert r.inputs.min() >= 0
    assert r.inputs.max() <= 1
    assert r.label_kept.all()
    assert torch.equal(net(r.inputs).argmax(1), net(images).argmax(1))
    maps = [explainer(net, x, r.target).abs().sum(1) for x in (images, r.inputs)]
    torch.testing.assert_close(r.scores["topk_intersection"], metric.topk_intersection(*maps, k=K))
    assert r.member.shape == (5,)
    assert (r.member >= 0).all()
    assert r.members[0] == "mass, softplus 30, absolute, from clean"
    assert len(set(r.member.tolist())) > 1


@pytest.fixture(scope="module")
def study():
    """The benchmark, whose network is attacked here, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("ensemble")


@pytest.fixture(scope="module")
def digits(study):
    """A small network trained on handwritten digits, and ten of them that it gets right."""
    with torch.random.fork_rng():
        made = study.digits(nn.ReLU)
    return made.model, made.images[:10]


def test_the_tables_rows_hold_what_is_promised(study):
    """Committed figures: budgets and labels, costs, and never more left than by ten restarts."""
    rows = json.loads((Path(study.__file__).parent / "results" / "ensemble.json").read_text())
    attacked = {name: row for name, row in rows.items() if not name.startswith(("port", "speed"))}
    networks = {name.partition(", ")[0] for name in attacked}
    assert len(networks) >= 8
    ratios = []
    for name, row in attacked.items():
        found = row["standard"]
        assert found["kept"] == row["images"], name
        assert found["inside"], name
        assert found["left"] <= row["default"]["left"] + 1e-9, name
        if "Decoy" not in name:  # those are scored with fresh decoys
            assert found["left"] <= row["TopK beta auto"]["left"] + 1e-9, name
        assert found["inputs"] <= 20 * row["default"]["inputs"], name
        ratios.append(found["left"] / row["default"]["left"])
    assert sum(ratios) / len(ratios) <= 0.9
    assert "| mean |" in study.markdown(rows)


@pytest.mark.parametrize("explainer", [Gradient(), IntegratedGradients(steps=2)], ids=repr)
def test_it_leaves_less_than_ten_restarts_of_any_other_attack(digits, explainer):
    net, x = digits
    budget = Linf(0.1, steps=8)
    found = left(Ensemble(budget, k=K)(net, x, None, explainer))
    ten = replace(budget, restarts=10)
    others = [TopK(ten, k=K), TopK(ten, k=K, beta=None), attack.Dissimilarity(ten, k=K)]
    each = [left(other(net, x, None, explainer)) for other in others]
    assert found < min(each)
    assert found < 0.9 * left(TopK(budget, k=K)(net, x, None, explainer))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_no_sample_is_left_with_more_than_ten_restarts_of_the_default_leave(images, activation):
    """They are members, with the same draws; of every sample, not on average."""
    net, budget = network(activation).double(), Linf(0.05, steps=4)
    x = images.double()
    found = Ensemble(budget, k=K)(net, x, None, Gradient())
    ten = TopK(replace(budget, restarts=10), k=K)(net, x, None, Gradient())
    name = "topk_intersection"
    assert (found.scores[name] <= ten.scores[name]).all()
    assert left(found) < left(ten)


def passes_of(net, attack, x):
    """How many inputs go through the network."""
    rows = []
    handle = net.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    attack(net, x, None, Gradient())
    handle.remove()
    return sum(rows)


@pytest.mark.parametrize(("effort", "most"), [("quick", 4), ("standard", 20)])
def test_an_effort_costs_as_many_default_attacks_as_it_says(net, images, effort, most):
    budget = Linf(0.05, steps=8)
    default = passes_of(net, TopK(budget, k=K), images[:1])
    ensemble = passes_of(net, Ensemble(budget, k=K, effort=effort), images[:1])
    assert 0.7 * most * default < ensemble <= most * default


def test_no_sample_is_left_with_more_than_its_strongest_member_leaves(net, images):
    """More effort begins with the same searches, so that no sample can end better off."""
    budget = Linf(0.05, steps=2)
    standard = Ensemble(budget, k=K)(net, images, None, Gradient())
    thorough = Ensemble(budget, k=K, effort="thorough")(net, images, None, Gradient())
    name = "topk_intersection"
    assert (thorough.scores[name] <= standard.scores[name]).all()
    quick = Ensemble(BUDGET, k=K, effort="quick")(net, images, None, Gradient())
    assert left(quick) < left(TopK(BUDGET, k=K)(net, images, None, Gradient())) + 1e-6
    assert cost("quick") < cost("standard") < cost("thorough")


@pytest.mark.parametrize(
    "by", ["kendall", "spearman", "cosine", "pearson", "mass_centre_shift", "l2", "lens_recall"]
)
def test_any_metric_can_be_attacked_and_is_what_iterates_are_chosen_by(net, images, by):
    r = Ensemble(BUDGET, k=K, by=by, effort="quick")(net, images, None, Gradient())
    worse = -1 if metric.get(by).higher_is_better else 1
    random = RandomSign(replace(BUDGET, restarts=8), k=K)(net, images, None, Gradient())
    options = {"k": K} if by == "lens_recall" else {}
    maps = [one.abs().sum(1) for one in (random.before, random.after)]
    assert worse * left(r, by) > worse * float(metric.get(by)(*maps, **options).mean())
    assert r.attack.score_name == by


def test_samples_do_not_depend_on_each_other(images):
    net, x = network().double(), images.double()
    whole = Ensemble(BUDGET, k=K, effort="quick")(net, x, None, Gradient())
    alone = Ensemble(BUDGET, k=K, effort="quick")(net, x[2:3], None, Gradient())
    torch.testing.assert_close(whole.inputs[2:3], alone.inputs)
    part = whole[1:3]
    assert torch.equal(part.member, whole.member[1:3])
    joined = attack.join_results([whole[:2], whole[2:]])
    named = [joined.members[number] for number in joined.member]
    assert named == [whole.members[number] for number in whole.member]


def test_no_budget_no_change_and_several_budgets_several_results(net, images):
    none, some = Ensemble(Linf([0.0, 0.02], steps=2), k=K, effort="quick")(
        net, images, None, Gradient()
    )
    assert torch.equal(none.inputs, images)
    assert none.label_kept.all()
    assert left(none) == 1
    assert left(some) < 1


def test_maps_without_a_derivative_are_asked_for_and_fall_below_random_signs(net, images):
    plain = Function(Gradient())
    asked = Ensemble(BUDGET, k=K)(net, images[:3], None, plain)
    random = RandomSign(replace(BUDGET, restarts=20), k=K)(net, images[:3], None, Gradient())
    assert asked.members == ("random patches",)
    assert asked.label_kept.all()
    assert (asked.inputs - images[:3]).abs().max() <= 0.05 + 1e-7
    assert left(asked) < left(random)


@pytest.mark.filterwarnings("ignore:the adaptive attack")
def test_a_decoy_map_is_attacked_itself_and_no_weaker_than_by_transfer(net, images):
    decoy = Decoy(Gradient(), layer="1", patch=4, decoys=4, seed=4)
    quick = Ensemble(Linf(0.05, steps=2), k=K, effort="quick")
    r = quick(net, images[:1], None, decoy)
    base = quick(net, images[:1], None, Gradient(), score_with=replace(decoy, seed=5))
    assert r.members[0] == "from the attack on the base map"
    assert left(r) <= left(base)


def test_an_adaptive_attack_that_finds_no_more_than_the_transferred_one_is_told_of(net, images):
    """One decoy a step has no range, so that the adaptive search has no slope to climb."""
    decoy = Decoy(Gradient(), layer="1", patch=8, decoys=2, seed=4, effort="fast")
    blind = Ensemble(Linf(0.003, steps=1), k=K, effort="quick", subset=1)
    with pytest.warns(SurefootWarning, match="adaptive attack on the decoy map found nothing"):
        r = blind(net, images[:1], None, decoy)
    assert r.label_kept.all()
    assert torch.isfinite(r.inputs).all()


def test_a_smooth_network_has_no_surrogates(images):
    r = Ensemble(BUDGET, k=K)(network(nn.Tanh), images, None, Gradient())
    assert not any("softplus" in name for name in r.members)
    assert left(r) < 0.9 * left(TopK(BUDGET, k=K)(network(nn.Tanh), images, None, Gradient()))


class Hidden(nn.Module):
    """Its gradient is right, its second derivative is cut off."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        class Cut(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, grad):
                ctx.save_for_backward(grad)
                return x.sum(tuple(range(1, x.ndim)))

            @staticmethod
            def backward(ctx, g):
                return g.view(-1, 1, 1, 1) * ctx.saved_tensors[0].detach(), None

        with torch.enable_grad():
            point = x.detach().requires_grad_()
            logits = self.net(point)
            slopes = [
                torch.autograd.grad(one.sum(), point, retain_graph=True)[0]
                for one in logits.unbind(1)
            ]
        lines = [Cut.apply(x, slope) for slope in slopes]
        return torch.stack(
            [
                a + line - line.detach()
                for a, line in zip(logits.detach().unbind(1), lines, strict=True)
            ],
            1,
        )


def test_slopes_that_two_ways_disagree_on_are_told_of(net, images):
    with pytest.warns(SurefootWarning, match="disagree"):
        Ensemble(BUDGET, k=K, effort="quick")(Hidden(net).eval(), images[:2], None, Gradient())


@dataclass(frozen=True, repr=False)
class Cut(Explainer):
    """Integrated gradients whose gradients are constants to autograd: only the factor is not."""

    whole: bool = False

    def attribute(self, request):
        paths = [
            Gradient().attribute(replace(request, inputs=share * request.inputs))
            for share in (0.5, 1.0)
        ]
        mean = sum(paths) / 2
        return request.inputs * (mean if self.whole else mean.detach())


def test_a_map_whose_second_order_is_cut_off_is_told_of_and_a_whole_one_is_not(net, images):
    budget = Linf(0.05, steps=2)
    with pytest.warns(SurefootWarning, match="disagree"):
        Ensemble(budget, k=K, effort="quick")(net, images[:2], None, Cut())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ensemble(budget, k=K, effort="quick")(net, images[:2], None, Cut(whole=True))


def test_a_map_without_a_gradient_is_told_of(images):
    line = nn.Sequential(nn.Flatten(), nn.Linear(128, 4)).eval()
    with pytest.warns(SurefootWarning, match="no gradient at the inputs"):
        r = Ensemble(BUDGET, k=K, effort="quick")(line, images, None, Gradient())
    assert left(r) == 1


@dataclass(frozen=True, repr=False)
class Chance(Explainer):
    """Gradient with fresh noise at each call."""

    def attribute(self, request):
        maps = Gradient().attribute(request)
        return maps + 1e-3 * torch.rand_like(maps)


def test_chance_and_empty_maps_are_told_of(net, images):
    with pytest.warns(SurefootWarning, match="in expectation"):
        Ensemble(BUDGET, k=K, effort="quick")(net, images[:2], None, Chance())
    empty = Function(lambda model, x, target: torch.zeros_like(x))
    with pytest.warns(SurefootWarning, match="2 of 2 clean maps are zero"):
        Ensemble(Linf(0.05, steps=1), k=K, effort="quick")(net, images[:2], None, empty)


def test_an_ordinary_attack_warns_of_nothing(net, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ensemble(BUDGET, k=K, effort="quick")(net, images, None, IntegratedGradients(steps=3))


def test_settings_are_a_recipe_and_checked(net, images):
    recipe = Ensemble(Linf(0.05, steps=5), k=K, by="kendall", effort="thorough")
    assert attack.parse(repr(recipe)) == recipe
    for wrong in ({"by": "gini"}, {"effort": "much"}):
        with pytest.raises(SurefootError, match=next(iter(wrong))):
            Ensemble(BUDGET, k=K, **wrong)(net, images, None, Gradient())


def test_swap_counts_places_over_the_threshold():
    """Rising where an outsider rises or an insider falls; far places hardly matter."""
    clean = torch.tensor([[9.0, 8.0, 5.0, 4.0, 1.0, 0.5]])
    held = {"inside": top(clean, 3)}
    value, slope = gradients.value_and_gradient(lambda at: swap(at, held), clean)
    # By moving mass from an insider to an outsider, near the threshold most.
    assert slope[0, 2] < slope[0, 0] < 0 < slope[0, 4] < slope[0, 3]
    swapped = clean[:, [0, 1, 3, 2, 4, 5]]
    assert float(swap(swapped, held)) > float(value)
    torch.testing.assert_close(swap(3 * clean, held), value)


def test_ranks_fall_from_agreement_to_reversal():
    clean = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    held = {"ranks": average(clean)}
    agree, reverse = ranks(clean, held), ranks(1 - clean, held)
    assert (agree < -0.95).all()
    assert (reverse > 0.95).all()


def test_a_relative_surrogate_smooths_layers_of_any_scale_alike():
    """With what enters a ReLU scaled by c, so is what leaves it; an absolute beta is not so."""
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    relu = nn.Sequential(nn.ReLU())
    relative, absolute = smooth(relu, 5, relative=True), smooth(relu, 5)
    torch.testing.assert_close(relative(1000 * x), 1000 * relative(x))
    assert not torch.allclose(absolute(1000 * x), 1000 * absolute(x), rtol=1e-3)
    # Sample by sample, the sharper the nearer to ReLU, and nothing where nothing enters.
    torch.testing.assert_close(relative(x)[1:2], relative(x[1:2]))
    torch.testing.assert_close(smooth(relu, 1e6, relative=True)(x), x.relu(), atol=1e-5, rtol=0)
    assert torch.isfinite(relative(torch.zeros(2, 3))).all()
