"""Any output that one can score: by name, by a callable, or by indices."""

import warnings

import pytest
import torch
from torch import nn

from surefoot import SurefootError, SurefootWarning, attack, explain, metric
from surefoot.models import Classifier, binary

X = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IMAGE = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def linear(outputs: int, *last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, outputs), *last).double().eval()


class Shaped(nn.Module):
    """A network whose output is made into something else."""

    def __init__(self, net: nn.Module, make) -> None:
        super().__init__()
        self.net, self.make = net, make
        self.eval()

    def forward(self, x):
        return self.make(self.net(x))


def by_autograd(value, x=X):
    point = x.clone().requires_grad_()
    return torch.autograd.grad(value(point).sum(), point)[0]


@pytest.mark.parametrize("make", [lambda y: y, lambda y: y[:, 0]], ids=["(N, 1)", "(N,)"])
def test_one_logit_is_two_classes(make):
    net = Shaped(linear(1), make)
    model = Classifier(net, output="binary")
    z = net(X).reshape(-1)
    torch.testing.assert_close(model(X).softmax(1), torch.stack([1 - z.sigmoid(), z.sigmoid()], 1))
    torch.testing.assert_close(model(X).diff(dim=1)[:, 0], z)
    slope = by_autograd(net)
    torch.testing.assert_close(explain.Gradient()(model, X, 1), slope / 2)
    torch.testing.assert_close(explain.Gradient(score="margin")(model, X, 1), slope)
    torch.testing.assert_close(explain.Gradient(score="margin")(model, X, 0), -slope)
    expected = by_autograd(lambda x: net(x).sigmoid())
    torch.testing.assert_close(explain.Gradient(score="probability")(model, X, 1), expected)
    found = attack.RandomSign(attack.Linf(0.5, restarts=4))(model, X, None, explain.Gradient())
    assert torch.equal(net(found.inputs).reshape(-1) > 0, z > 0)


def test_a_number_that_is_no_class():
    net = linear(1)
    model = Classifier(net, output="regression")
    for target in (None, 0):
        torch.testing.assert_close(explain.Gradient()(model, X, target), by_autograd(net))
    gap = explain.IntegratedGradients(steps=4).completeness_gap(model, X)
    torch.testing.assert_close(gap, torch.zeros_like(gap))
    assert explain.Gradient().explain(model, X).confidence().isnan().all()
    for score in ("probability", "log_probability", "loss", "margin"):
        with pytest.raises(SurefootError, match=r"use score=\"logit\""):
            explain.Gradient(score=score)(model, X)
    with pytest.raises(SurefootError, match="keeps the predicted class"):
        attack.TopK(attack.Linf(0.1, steps=1), k=1)(model, X, None, explain.Gradient())
    flat = Classifier(Shaped(net, lambda y: y[:, 0]), output="regression")
    torch.testing.assert_close(explain.Gradient()(flat, X), by_autograd(net))
    several = Classifier(linear(3), output="regression")
    torch.testing.assert_close(
        explain.Gradient()(several, X, 2)[0], linear(3)[0].weight[2].detach()
    )


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid()], ids=["softmax", "sigmoid"])
def test_probabilities_are_taken_for_what_they_are(last):
    many = isinstance(last, nn.Softmax)
    net = linear(3 if many else 1, last)
    model = Classifier(net, output="probabilities")
    shares = net(X) if many else torch.cat([1 - net(X), net(X)], 1)
    torch.testing.assert_close(model(X).softmax(1), shares)
    confidence = explain.Gradient().explain(model, X).confidence()
    torch.testing.assert_close(confidence, shares.amax(1).detach())
    expected = by_autograd(lambda x: net(x)[:, -1])
    found = explain.Gradient(score="probability")(model, X, 2 if many else 1)
    torch.testing.assert_close(found, expected)
    with pytest.raises(SurefootError, match="leave output= out if they are logits"):
        Classifier(linear(3), output="probabilities")(X)


@pytest.mark.parametrize("score", ["probability", "log_probability", "loss"])
def test_a_network_that_ends_in_softmax_is_noticed(score):
    net = linear(3, nn.Softmax(1))
    assert torch.allclose(net(X).sum(1), torch.ones(4).double())
    with pytest.warns(SurefootWarning, match=r'output="probabilities"'):
        explain.Gradient(score=score)(net, X)
    with pytest.warns(SurefootWarning, match="softmax of them is taken again"):
        explain.Gradient().explain(net, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain.Gradient()(net, X)  # the logit is what the network gives
        explain.Gradient(score=score)(linear(3), X)


def test_labels_that_do_not_exclude_each_other():
    net = linear(4)
    model = Classifier(net, output="multilabel")
    torch.testing.assert_close(explain.Gradient()(model, X, 2), by_autograd(lambda x: net(x)[:, 2]))
    torch.testing.assert_close(
        explain.Gradient().explain(model, X, 2).confidence(), net(X)[:, 2].sigmoid().detach()
    )
    one = Classifier(net, output=lambda found: binary(found[:, 2]))
    expected = by_autograd(lambda x: net(x)[:, 2].sigmoid())
    torch.testing.assert_close(explain.Gradient(score="probability")(one, X, 1), expected)
    with pytest.raises(SurefootError, match=r"models\.binary\(found\[:, 3\]\)"):
        explain.Gradient(score="probability")(model, X, 2)
    with pytest.raises(SurefootError, match=r"models\.binary\(found\[:, 3\]\)"):
        metric.deletion(model, X, X, 2)
    with pytest.raises(SurefootError, match="exclude each other"):
        attack.TopK(attack.Linf(0.1, steps=1), k=1)(model, X, 2, explain.Gradient())


def segments(make=lambda y: y) -> nn.Module:
    torch.manual_seed(0)
    return Shaped(nn.Conv2d(3, 4, 3, padding=1).double(), make)


@pytest.mark.parametrize("make", [lambda y: y, lambda y: {"out": y, "aux": y}], ids=["y", "dict"])
def test_a_segmentation_by_its_mean(make):
    model = Classifier(segments(make), output="segmentation")
    expected = by_autograd(lambda x: segments()(x)[:, 2].mean((1, 2)), IMAGE)
    torch.testing.assert_close(explain.Gradient()(model, IMAGE, 2), expected)


@pytest.mark.parametrize("target", [(1, 2, 3), [(1, 2, 3), (0, -1, 5)]])
def test_targets_of_several_indices(target):
    each = target if isinstance(target, list) else [target] * 2

    def picked(x):
        y = segments()(x)
        return torch.stack([y[i][index] for i, index in enumerate(each)])

    expected = by_autograd(picked, IMAGE)
    torch.testing.assert_close(explain.Gradient()(segments(), IMAGE, target), expected)
    e = explain.IntegratedGradients(steps=3)
    total = e(segments(), IMAGE, target).flatten(1).sum(1)
    change = (picked(IMAGE) - picked(torch.zeros_like(IMAGE))).detach()
    torch.testing.assert_close(total, change)
    smooth = explain.SmoothGrad(samples=2)(segments(), IMAGE, target)
    torch.testing.assert_close(smooth, expected)
    captum = pytest.importorskip("captum.attr")
    theirs = captum.Saliency(segments()).attribute(IMAGE.clone().requires_grad_(), target, False)
    torch.testing.assert_close(expected, theirs)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ((1, 2), r"target \(1, 2\) does not fit outputs \(N, 4, 6, 6\); expected 3 whole numbers"),
        ((4, 0, 0), r"outside outputs of shape \(4, 6, 6\)"),
        ((0, -7, 0), r"outside outputs of shape \(4, 6, 6\)"),
        ([(1, 2, 3)], "1 targets came for 2 inputs"),
        ((1, 2.0, 3), "whole numbers"),
    ],
)
def test_indices_that_do_not_fit(target, says):
    with pytest.raises(SurefootError, match=says):
        explain.Gradient()(segments(), IMAGE, target)


def test_what_compares_classes_refuses_indices():
    with pytest.raises(SurefootError, match=r"output=lambda found: found\[:, :, 3, 5\]"):
        explain.Gradient(score="probability")(segments(), IMAGE, (1, 2, 3))
    with pytest.raises(SurefootError, match="several indices"):
        metric.deletion(segments(), IMAGE, IMAGE, (1, 2, 3))
    with pytest.raises(SurefootError, match="no classes"):
        attack.TopK(attack.Linf(0.1, steps=1), k=1)(
            segments(), IMAGE, (1, 2, 3), explain.Gradient()
        )
    pixel = Classifier(segments(), output=lambda found: found[:, :, 2, 3])
    expected = by_autograd(lambda x: segments()(x).softmax(1)[:, 1, 2, 3], IMAGE)
    torch.testing.assert_close(explain.Gradient(score="probability")(pixel, IMAGE, 1), expected)


@pytest.mark.parametrize(
    ("output", "pick"),
    [("last", lambda y: y[:, -1]), ("detection", lambda y: y.amax(1))],
)
def test_one_output_a_step_or_candidate(output, pick):
    net = Shaped(linear(12), lambda y: y.view(-1, 4, 3))
    model = Classifier(net, output=output)
    torch.testing.assert_close(model(X), pick(net(X)))
    found = explain.Gradient(score="log_probability")(model, X, 1)
    expected = by_autograd(lambda x: pick(net(x)).log_softmax(1)[:, 1])
    torch.testing.assert_close(found, expected)


def test_a_key_of_that_name_comes_first():
    net = Shaped(linear(3), lambda y: {"last": y, "logits": y[:, None] + 1})
    torch.testing.assert_close(Classifier(net, output="last")(X), linear(3)(X))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda y: y[:, :1], r'output="regression"\), or "binary"'),
        (lambda y: y[:, 0], r'output="regression"\), or "binary"'),
        (lambda y: y[..., None, None].expand(-1, -1, 2, 2), r'"segmentation".*class, row, column'),
        (lambda y: y[:, None], r'output="last"\), .*"detection"'),
        (lambda y: [{"boxes": y}], r"pick them out|output="),
        (lambda y: y.flatten(), r"output=lambda found"),
        (lambda y: y.sum(), r"output=lambda found"),
    ],
)
def test_what_cannot_be_scored_shows_the_line_to_write(make, says):
    for model in (Shaped(linear(3), make), Classifier(Shaped(linear(3), make))):
        with pytest.raises(SurefootError, match=says):
            explain.Gradient()(model, X)


def test_an_unknown_name_shows_those_there_are():
    with pytest.raises(SurefootError, match=r"'multi' is not in what.*binary, .*segmentation"):
        Classifier(linear(3), output="multi")(X)


@pytest.mark.parametrize("output", ["binary", "segmentation", "detection", "last"])
def test_a_name_that_does_not_fit_says_what_it_is_for(output):
    with pytest.raises(SurefootError, match=f"output='{output}' is for outputs .*callable"):
        Classifier(linear(3), output=output)(X)


@pytest.mark.parametrize("target", [None, 1])
def test_nan_is_no_class(target):
    net = Shaped(linear(3), lambda y: y + torch.tensor([0.0, torch.nan, 0.0]))
    for call in (
        lambda: explain.Gradient()(net, X, target),
        lambda: explain.IntegratedGradients(steps=2).explain(net, X, target),
        lambda: metric.deletion(net, X, X, target),
    ):
        with pytest.raises(SurefootError, match=r"NaN for (\d+) of \1 inputs"):
            call()
