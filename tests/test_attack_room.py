"""Where attacks may go: wanted classes, masks, bounds of each sample, AutoAttack of any form."""

import importlib.util

import pytest
import torch
from torch import nn

from surefoot import SurefootError
from surefoot.attack import FGSM, L2, PGD, AutoAttack, Linf, MassCenter, RandomSign, TopK
from surefoot.attack._autoattack import Form
from surefoot.explain import Gradient


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 4)).eval()


@pytest.fixture
def x():
    return 0.2 + 0.6 * torch.rand(3, 1, 3, 4, generator=torch.Generator().manual_seed(1))


def probability(net, x, k):
    return net(x).softmax(1)[:, k].detach()


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("budget", [Linf(0.1, steps=5), L2(0.4, steps=5)])
def test_a_wanted_class_is_approached(net, x, budget, loss):
    clean = net(x).argmax(1)
    wanted = (clean + 1) % 4
    for kind in (PGD, FGSM):
        r = kind(budget, loss=loss, targeted=True)(net, x, wanted)
        rise = probability(net, r.inputs, range(4)).gather(1, wanted[:, None])
        assert (rise > probability(net, x, range(4)).gather(1, wanted[:, None])).all()
        assert torch.equal(r.robust, r.predictions != wanted)
    far = PGD(Linf(0.8, steps=20), loss=loss, targeted=True)(net, x, wanted)
    assert not far.robust.any()
    assert torch.equal(far.predictions, wanted)
    there = PGD(budget, targeted=True)(net, x, clean)  # nothing to do
    assert torch.equal(there.inputs, x)
    with pytest.raises(SurefootError, match="needs labels: the classes wanted"):
        PGD(budget, targeted=True)(net, x)


def test_wanting_is_losing_the_other_of_two_classes(x):
    torch.manual_seed(0)
    two = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    labels = two(x).argmax(1)
    a = PGD(Linf(0.05, steps=4), loss="margin")(two, x, labels)
    b = PGD(Linf(0.05, steps=4), loss="margin", targeted=True)(two, x, 1 - labels)
    torch.testing.assert_close(a.inputs, b.inputs)


BUDGETS = [
    Linf(0.1, steps=4, restarts=2),
    L2(0.3, steps=4, restarts=2),
    Linf(0.1, steps=3, random_start=True),
    L2(0.3, steps=3, random_start=True),
]


def masked(budget, mask):
    return type(budget)(**{**budget.settings(), "mask": mask})


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_a_mask_holds_the_rest(net, x, budget):
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[1, 1:] = True
    held = masked(budget, mask)
    attacks = [TopK(held, k=3), MassCenter(held), RandomSign(held)]
    found = [a(net, x, None, Gradient("probability")).inputs for a in attacks]
    found += [PGD(held)(net, x).inputs, FGSM(held)(net, x).inputs]
    for moved in found:
        assert torch.equal(moved[:, :, ~mask], x[:, :, ~mask])
        assert not torch.equal(moved, x)
        way = (moved - x).flatten(1)
        size = way.norm(dim=1) if budget.norm == "l2" else way.abs().amax(1)
        assert (size <= budget.radius * (1 + 1e-5)).all()
    # A mask of ones is none, and of each sample's own it is that of the sample.
    torch.testing.assert_close(
        PGD(masked(budget, torch.ones(())))(net, x).inputs, PGD(budget)(net, x).inputs
    )
    each = torch.stack([mask, ~mask, mask])[:, None]
    alone = PGD(masked(budget, each[1:2]))(net, x[1:2]).inputs
    torch.testing.assert_close(PGD(masked(budget, each))(net, x).inputs[1:2], alone)


def test_the_l2_step_spends_nothing_on_what_is_held(net, x):
    mask = torch.zeros(3, 4)
    mask[0] = 1
    r = FGSM(L2(0.1, mask=mask))(net, x, net(x).argmax(1))
    torch.testing.assert_close((r.inputs - x).flatten(1).norm(dim=1), torch.full((3,), 0.1))


@pytest.mark.parametrize("budget", BUDGETS, ids=repr)
def test_bounds_of_each_sample(net, x, budget):
    low, high = x - 0.03, x + 0.01
    near = type(budget)(**{**budget.settings(), "bounds": (low, high)})
    for moved in (
        TopK(near, k=3)(net, x, None, Gradient("probability")).inputs,
        PGD(near)(net, x).inputs,
    ):
        assert (moved >= low).all()
        assert (moved <= high).all()
        assert not torch.equal(moved, x)
    one = type(budget)(**{**budget.settings(), "bounds": (low[2:], high[2:])})
    torch.testing.assert_close(PGD(near)(net, x).inputs[2:], PGD(one)(net, x[2:]).inputs)


def test_what_does_not_fit_is_named(net, x):
    with pytest.raises(SurefootError, match="other values than 0 and 1"):
        PGD(Linf(0.1, mask=x))(net, x)
    with pytest.raises(SurefootError, match=r"mask has shape \(5,\)"):
        TopK(Linf(0.1, mask=torch.ones(5)), k=2)(net, x, None, Gradient())
    with pytest.raises(SurefootError, match="leave bounds"):
        PGD(Linf(0.1, bounds=(x + 0.01, x + 1)))(net, x)


def test_top_k_keeps_the_iterate_of_least_kendall(net, x):
    """Both searches walk alike until one of them is done; each is the best by its own score."""
    budget, e = Linf(0.2, steps=15, step_size=0.03), Gradient("probability")
    by = {keep: TopK(budget, k=3, keep=keep)(net, x, None, e) for keep in KEEPS}
    assert next(iter(by["kendall"].scores)) == "kendall"
    assert (by["kendall"].scores["kendall"] <= by["topk_intersection"].scores["kendall"]).all()
    first = "topk_intersection"
    assert (by[first].scores[first] <= by["kendall"].scores[first]).all()
    assert repr(TopK(Linf(0.1), k=3, keep="kendall")) == "TopK(Linf(0.1), k=3, keep='kendall')"
    with pytest.raises(SurefootError, match="keep='spearman', choose one of"):
        TopK(budget, k=3, keep="spearman")(net, x, None, e)


KEEPS = ("topk_intersection", "kendall")


@pytest.mark.parametrize("shape", [(3, 5, 5), (2, 3, 4), (7,), (2, 6), (2, 2, 3, 2)])
@pytest.mark.parametrize("least", [1, 5])
def test_any_form_is_a_square_image_and_back(shape, least):
    inputs = torch.rand(2, *shape, dtype=torch.float64)
    form = Form.of(inputs, least)
    images = form.squares(inputs)
    assert images.shape[2] >= least
    assert images.ndim == 4
    assert images.shape[2] == images.shape[3]
    assert images.is_contiguous()
    torch.testing.assert_close(form.back(images), inputs.float().double())


@pytest.mark.skipif(
    importlib.util.find_spec("pyautoattack") is None, reason="needs surefoot[autoattack]"
)
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("shape", [(3, 4, 4), (5,), (2, 6), (3, 4, 5)])
def test_autoattack_of_any_form(classes, shape):
    torch.manual_seed(0)
    size = torch.Size(shape).numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, classes)).eval()
    x = torch.rand(2, *shape)
    if len(shape) == 3:
        x = x.contiguous(memory_format=torch.channels_last)
    names = ("apgd-dlr", "apgd-t", "fab-t") if classes > 2 else ("apgd-ce", "apgd-t", "square")
    for budget in (Linf(0.15), L2(0.5)):
        r = AutoAttack(budget, attacks=names)(model, x)
        way = (r.inputs - x).flatten(1)
        reach = way.abs().amax(1) if budget.norm == "linf" else way.norm(dim=1)
        assert (reach <= budget.radius + 1e-4).all()
        assert (r.robust <= PGD(budget)(model, x).robust).all()
