"""Attacks on predictions: closed forms on linear models, accuracy, the adapter to AutoAttack."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn

from surefoot import MissingExtraError, SurefootError
from surefoot.attack import FGSM, L2, PGD, AutoAttack, Linf, bind


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()


@pytest.fixture
def trained():
    """A small network that tells two bands of a stripe apart, with its inputs and labels."""
    torch.manual_seed(0)
    x = torch.rand(64, 1, 6, 6)
    labels = torch.arange(64) % 2
    x[labels == 1, :, :3] += 0.5
    x[labels == 0, :, 3:] += 0.5
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 2))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x / 1.5), labels).backward()
        optimiser.step()
    return net.eval(), (x / 1.5), labels


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_the_worst_point_of_a_linear_model_is_known(linear, attack, loss):
    x = torch.full((2, 3, 2, 2), 0.5)
    way = (linear[1].weight[1] - linear[1].weight[0]).detach()
    gap = float((linear(x)[0, 0] - linear(x)[0, 1]).detach())
    with torch.no_grad():
        linear[1].bias[0] += 10 - gap  # label 0 leads by 10, too much to lose
    r = attack(Linf(0.1), loss=loss)(linear, x, 0)
    expected = x + 0.1 * way.sign().view(3, 2, 2)
    torch.testing.assert_close(r.inputs, expected)
    assert r.robust.all()
    r = attack(L2(0.1), loss=loss)(linear, x, 0)
    expected = x + 0.1 * (way / way.norm()).view(3, 2, 2)
    torch.testing.assert_close(r.inputs, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("budget", [Linf(0.2, steps=10), L2(1.2, steps=10)])
@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_accuracy_falls_inside_the_budget(trained, budget, loss):
    net, x, labels = trained
    assert (net(x).argmax(1) == labels).all()
    r = PGD(budget, loss=loss)(net, x, labels)
    assert r.robust.float().mean() < 0.5
    assert torch.equal(r.predictions, net(r.inputs).argmax(1))
    way = (r.inputs - x).flatten(1)
    size = way.norm(dim=1) if budget.norm == "l2" else way.abs().amax(1)
    assert (size <= budget.radius * (1 + 1e-5)).all()
    assert r.inputs.min() >= 0
    assert r.inputs.max() <= 1
    assert PGD(replace(budget, epsilon=0.0))(net, x, labels).robust.all()


def test_restarts_and_the_best_iterate_never_make_it_weaker(trained):
    net, x, labels = trained
    budget = Linf(0.12, steps=2, step_size=0.02, random_start=True)
    once, more = (PGD(replace(budget, restarts=n))(net, x, labels) for n in (1, 6))
    assert (more.robust <= once.robust).all()

    def loss(inputs):
        return nn.functional.cross_entropy(net(inputs), labels, reduction="none").detach()

    still = more.robust
    assert (loss(more.inputs) >= loss(once.inputs) - 1e-6)[still].all()
    assert (loss(more.inputs) > loss(once.inputs) + 1e-6)[still].any()


def test_a_lost_sample_takes_no_further_step(trained):
    net, x, labels = trained
    r = PGD(Linf(0.2, steps=10))(net, x, 1 - labels)
    assert torch.equal(r.inputs, x)
    assert not r.robust.any()


def test_results_do_not_depend_on_the_batch(trained):
    net, x, labels = trained[0].double(), trained[1].double(), trained[2]
    a = PGD(Linf(0.15, steps=5, restarts=2))
    r = a(net, x, labels)
    alone = a(net, x[7:8], labels[7:8])
    torch.testing.assert_close(alone.inputs, r[7].inputs, rtol=0, atol=1e-12)
    assert len(r[2:5]) == 3
    assert repr(r).startswith("PredictionResult(PGD(Linf(0.15, steps=5, restarts=2)): ")
    assert torch.equal(PGD(Linf(0.1, steps=1))(net, x).labels, net(x).argmax(1))


class Stub(ModuleType):
    """Stands for pyautoattack: moves every input up by the whole radius."""

    def __init__(self):
        super().__init__("pyautoattack")
        self.seen = {}

    def AutoAttack(self, model, **settings):  # noqa: N802 (the package's name)
        torch.manual_seed(settings["seed"])
        self.seen = settings | {"model": model}
        stub = self

        class Ensemble:
            def run_standard_evaluation(self, x, y, *, batch_size):
                stub.seen |= {"x": x, "batch_size": batch_size}
                return (x + settings["eps"]).clamp(0, 1), y

        return Ensemble()


def test_autoattack_gets_the_unit_cube_and_leaves_no_seed_behind(linear, monkeypatch):
    stub = Stub()
    monkeypatch.setitem(sys.modules, "pyautoattack", stub)
    x = torch.linspace(-2, 2, 24).view(2, 3, 2, 2)
    state = torch.random.get_rng_state()
    r = AutoAttack(Linf(0.5, bounds=(-2, 2)), attacks=("square",))(linear, x, 0)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.testing.assert_close(stub.seen["x"], (x + 2) / 4)
    torch.testing.assert_close(stub.seen["model"](stub.seen["x"]), linear(x))
    assert stub.seen["eps"] == 0.125
    assert (stub.seen["norm"], stub.seen["version"]) == ("Linf", "custom")
    torch.testing.assert_close(r.inputs, (x + 0.5).clamp(-2, 2))
    assert torch.equal(r.predictions, linear(r.inputs).argmax(1))


def test_autoattack_says_what_it_needs(linear, monkeypatch):
    x = torch.rand(2, 3, 2, 2)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(MissingExtraError, match=r'pip install "surefoot\[autoattack\]"'):
        AutoAttack(Linf(0.1))(linear, x)
    monkeypatch.setitem(sys.modules, "pyautoattack", Stub())
    with pytest.raises(SurefootError, match="bounds that are numbers"):
        AutoAttack(Linf(0.1, bounds=(torch.zeros(3, 1, 1), 1)))(linear, x)
    with pytest.raises(SurefootError, match="knows no extra inputs"):
        AutoAttack(Linf(0.1))(linear, x, extra={"mask": x})


def test_bad_input_is_named(linear):
    x = torch.rand(2, 3, 2, 2)
    with pytest.raises(SurefootError, match="leave bounds"):
        PGD(Linf(0.1, bounds=(0, 0.5)))(linear, x, 0)
    with pytest.raises(SurefootError, match="loss='dlr', choose one of"):
        PGD(Linf(0.1), loss="dlr")(linear, x, 0)
    with pytest.raises(SurefootError, match=r"budget=0.1, expected attack.Linf\(epsilon\)"):
        PGD(0.1)(linear, x, 0)
    with pytest.raises(SurefootError, match="several radii"):
        FGSM(Linf([0.1, 0.2]))(linear, x, 0)
    with pytest.raises(SurefootError, match="the model has 2 outputs"):
        PGD(Linf(0.1))(linear, x, 5)
    with pytest.raises(SurefootError, match="training mode"):
        PGD(Linf(0.1))(linear.train(), x, 0)


def negative_log(outputs, labels):
    """captum's loss when none is given."""
    return -outputs.log()[torch.arange(len(labels)), labels]


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require")
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_bound_to_a_model_it_goes_as_captums(norm, targeted):
    robust = pytest.importorskip("captum.robust")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Softmax(1)).double().eval()
    x, y = torch.rand(5, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    mask = torch.tensor([1, 1, 0, 1])
    told = {"radius": 0.3, "step_size": 0.1, "step_num": 1, "target": y, "targeted": targeted}
    wanted = robust.PGD(net, lower_bound=0, upper_bound=1).perturb(x, mask=mask, **told)
    bound = bind(PGD(Linf(0, bounds=(0, 1)), loss=negative_log, keep="last"), net)
    torch.testing.assert_close(bound.perturb(x, mask=mask, **told), wanted)
    wanted = robust.FGSM(net).perturb(x, 0.2, y, targeted=targeted)
    fgsm = FGSM(Linf(0, bounds=(-9, 9)), loss=negative_log, keep="last")
    torch.testing.assert_close(
        bind(fgsm, net.forward).perturb(x, y, epsilon=0.2, targeted=targeted), wanted
    )
    net = net[:3].eval()
    found = bind(PGD(Linf(0.3)), net).perturb(x, y, norm=norm, step_num=3, targeted=targeted)
    recipe = {"Linf": Linf, "L2": L2}[norm](0.3, steps=3)
    torch.testing.assert_close(found, PGD(recipe, targeted=targeted)(net, x, y).inputs)


def test_bound_to_a_model_of_several_inputs():
    def function(a, b, scale):
        return torch.stack([a.sum(1) * scale, b[:, 0]], 1)

    a, b = torch.full((2, 3), 0.5), torch.full((2, 2), 0.5)
    bound = bind(PGD(Linf(0.1), keep="last"), function)
    told = {"step_num": 1, "step_size": 0.1, "additional_forward_args": 2.0}
    found = bound.perturb((a, b), torch.tensor([0, 1]), **told)
    torch.testing.assert_close(found[0], torch.tensor([[0.4] * 3, [0.6] * 3]))
    torch.testing.assert_close(found[1][:, 0], torch.tensor([0.6, 0.4]))
    assert torch.equal(found[1][:, 1], b[:, 1])
    for said, call in (
        ("no setting 'steps'; did you mean .*step_num", lambda: bound.perturb((a, b), steps=3)),
        ("norm='L1', choose", lambda: bound.perturb((a, b), norm="L1")),
        ("scale", lambda: bound.perturb((a, b))),
        ("one on predictions", lambda: bind(Linf(0.1), function)),
        ("expected a module or a function", lambda: bind(PGD(Linf(0.1)), 3)),
    ):
        with pytest.raises(SurefootError, match=said):
            call()


def test_the_last_iterate_is_kept_whatever_it_does(trained):
    net, x, labels = trained
    wrong = 1 - labels
    assert torch.equal(PGD(Linf(0.1, steps=2))(net, x, wrong).inputs, x)  # lost at the start
    r = PGD(Linf(0.1, steps=1, step_size=0.1), keep="last")(net, x, wrong)
    assert (r.inputs != x).flatten(1).any(1).all()
    assert torch.equal(FGSM(Linf(0.1), keep="last")(net, x, wrong).inputs, r.inputs)
    with pytest.raises(SurefootError, match=r'keep="last" is of one run'):
        PGD(Linf(0.1, restarts=2), keep="last")(net, x)
    with pytest.raises(SurefootError, match="keep='first', choose"):
        PGD(Linf(0.1), keep="first")(net, x)


def test_a_loss_of_ones_own(trained):
    net, x, labels = trained
    own = nn.CrossEntropyLoss(reduction="none")
    ways = (own, "cross_entropy")
    found, wanted = (PGD(Linf(0.1, steps=4), loss=way)(net, x, labels) for way in ways)
    torch.testing.assert_close(found.inputs, wanted.inputs)
    with pytest.raises(SurefootError, match="reduction='none'"):
        PGD(Linf(0.1), loss=nn.CrossEntropyLoss())(net, x)
