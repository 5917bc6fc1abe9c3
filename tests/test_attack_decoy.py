"""Attacks on decoy maps: adaptive, scored with fresh decoys, not weaker than transferred ones."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from surefoot import SurefootError, metric
from surefoot.attack import Linf, MassCenter, RandomSign, Target, TopK
from surefoot.attack._search import Search
from surefoot.explain import Decoy, Gradient, IntegratedGradients, SmoothGrad, reduce

DECOY = Decoy(Gradient(), layer="0", decoys=16, effort="fast")
BUDGET = Linf(8 / 255, steps=12)
ATTACK = TopK(BUDGET, k=15, refresh=4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        for place in (0, 2, 5):
            net[place].weight.mul_(3)
    return net.eval()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(4, 3, 12, 12)


def left(result):
    return float(result.scores["topk_intersection"].mean())


@pytest.mark.parametrize("second_order", ["finite", "exact"])
def test_adaptive_is_not_weaker_than_transferred(net, images, second_order):
    adaptive = replace(ATTACK, second_order=second_order)(net, images, None, DECOY)
    transferred = ATTACK(net, images, None, Gradient(), score_with=replace(DECOY, seed=1))
    control = RandomSign(BUDGET, k=15)(net, images, None, DECOY)
    assert adaptive.explainer == transferred.explainer == control.explainer
    assert left(adaptive) < left(transferred)
    assert left(adaptive) < 0.7 * left(control)


def test_scores_come_from_fresh_decoys_of_another_seed(net, images):
    noise = replace(DECOY, source="noise", seed=5)  # whose draws show the seed
    r = TopK(Linf(8 / 255, steps=4), k=15)(net, images, None, noise)
    assert r.explainer == replace(noise, seed=6)
    target = net(images).argmax(1)
    torch.testing.assert_close(r.before, r.explainer(net, images, target))
    torch.testing.assert_close(r.after, r.explainer(net, r.inputs, target))
    assert not torch.allclose(r.after, noise(net, r.inputs, target))
    expected = metric.topk_intersection(reduce(r.before), reduce(r.after), 15)
    torch.testing.assert_close(r.scores["topk_intersection"], expected)


def test_iterates_are_scored_where_decoys_are_searched(net, images):
    r = replace(ATTACK, trace=True)(net, images, None, DECOY)
    seen = ~r.trace[0].isnan().all(1)
    assert seen.nonzero()[:, 0].tolist() == [4, 8, 12]
    odd = replace(ATTACK, trace=True, refresh=5)(net, images, None, DECOY)
    assert (~odd.trace[0].isnan().all(1)).nonzero()[:, 0].tolist() == [5, 10, 12]


def test_results_do_not_depend_on_the_batch(net, images):
    net, x = net.double(), images.double()
    a = replace(ATTACK, budget=replace(BUDGET, steps=4), refresh=2)
    r = a(net, x, None, DECOY)
    alone = a(net, x[2:3], None, DECOY)
    torch.testing.assert_close(alone.inputs, r[2].inputs, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "explainer",
    [replace(DECOY, base=IntegratedGradients(steps=2)), SmoothGrad(DECOY, samples=2, std=0.02)],
    ids=["decoys of a path", "smoothed decoys"],
)
def test_other_bases_and_wrapped_decoys_are_attacked(net, images, explainer):
    r = replace(ATTACK, budget=replace(BUDGET, steps=4), subset=None)(
        net, 0.3 + 0.4 * images[:2], None, explainer
    )
    assert r.label_kept.all()
    assert left(r) < 0.95


def test_restarts_search_decoys_anew(net, images):
    a = replace(ATTACK, budget=replace(BUDGET, steps=4), restarts=2, trace=True)
    r = a(net, images, None, DECOY)
    assert r.trace.shape == (2, 5, 4)
    assert not r.trace[1, 0].isnan().any()


def test_bounds_must_agree(net, images):
    for explainer in (replace(DECOY, bounds=(0, 2)), SmoothGrad(replace(DECOY, bounds=(0, 2)))):
        with pytest.raises(SurefootError, match=r"live in bounds=\(0, 2\) and the attack in boun"):
            ATTACK(net, images, None, explainer)
    tensors = (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    budget = Linf(8 / 255, steps=1, bounds=tensors)
    same = replace(DECOY, bounds=tuple(t.clone() for t in tensors))
    assert TopK(budget, k=15)(net, images[:1], None, same).label_kept.any()


def test_decoys_of_what_cannot_be_differentiated(net, images):
    base = Decoy(lambda model, x, target: x, layer="0", decoys=8, effort="fast")
    with pytest.raises(SurefootError, match="cannot be differentiated; use a built-in"):
        ATTACK(net, images[:1], None, base)


def test_an_iterate_that_kept_its_label_is_scored_when_the_last_one_has_not(net, monkeypatch):
    torch.manual_seed(0)
    images = torch.rand(12, 3, 12, 12)
    ever = torch.zeros(12, dtype=torch.bool)
    last = torch.zeros(12, dtype=torch.bool)
    ask = Search._kept

    def spy(search, moment, logits):
        kept = ask(search, moment, logits)
        if moment.step:
            ever[moment.which] |= kept
        if moment.step == search.budget.steps and not spy.judged:
            spy.judged, last[:] = True, kept
        return kept

    spy.judged = False
    monkeypatch.setattr(Search, "_kept", spy)
    monkeypatch.setattr(TopK, "_on_base", lambda *_: None)
    r = TopK(Linf(0.15, steps=4), k=15, refresh=10)(net, images, None, DECOY)
    assert (ever & ~last).any()
    torch.testing.assert_close(r.label_kept, ever)


@pytest.mark.parametrize("make", [TopK, MassCenter, Target])
def test_the_base_attack_stands_as_a_candidate(net, images, make):
    budget = Linf(8 / 255, steps=8)
    poor = {"refresh": 100, "subset": 2, "beta": None}
    adaptive = make(budget, k=15, **poor)(net, images, None, DECOY)
    transferred = make(budget, k=15, beta=None)(
        net, images, None, Gradient(), score_with=replace(DECOY, seed=1)
    )
    name = adaptive.attack.score_name
    sign = -1 if make.lower_is_damage else 1
    assert (sign * adaptive.scores[name] >= sign * transferred.scores[name] - 1e-6).all()
