"""Values of a wrong kind at doors that the fuzzer once found open: one error that names them."""

import numpy as np
import pytest
import torch
from torch import nn

import surefoot
from surefoot import (
    SurefootError,
    attack,
    certify,
    data,
    decoy,
    explain,
    metric,
    models,
    testing,
    train,
)
from surefoot.files import make_folder, write_whole

NET = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 4)
).eval()
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PLAIN = explain.Gradient()
Y = torch.tensor([0, 1])
SAMPLES = data.Samples(X, Y, ("a", "b", "c", "d"))


def bound(inputs, target=None, net=NET):
    return explain.bind(PLAIN, net).attribute(inputs, target)


def asked(inputs, target=None, net=NET):
    return explain.quantus(PLAIN)(net, inputs, target)


def audited(**settings):
    pytest.importorskip("pyarrow")
    pytest.importorskip("scipy")
    options = {"explainers": {"gradient": PLAIN}, "metrics": ["gini"]}
    return surefoot.audit(NET, (X, NET(X).argmax(1)), **(options | settings))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bound(None), "inputs is a NoneType, expected a torch.Tensor"),
        (lambda: bound(X.numpy()), "inputs is a ndarray"),
        (lambda: bound(X[:, :, :, :5]), "fails on inputs"),
        (lambda: bound(X.double()), "double|float64"),
        (lambda: bound(X, "cat"), "target"),
        (lambda: bound(X, ["cat", "dog"]), "target"),
        (lambda: bound(X, object()), "target"),
        (lambda: asked("pictures"), "inputs is a str that holds no numbers"),
        (lambda: asked(X, ["cat", "dog"]), "targets is a list that holds no numbers"),
        (lambda: asked(X, net=len), "model is a builtin_function_or_method"),
        (lambda: attack.smooth(None), "model is a NoneType"),
        (lambda: attack.smooth(NET, "30"), "beta='30'"),
        (lambda: attack.smooth(NET, float("nan")), "beta=nan"),
        (lambda: certify.Smoothed(PLAIN, sigma="0.1")(NET, X), "sigma='0.1', expected a number"),
        (lambda: certify.Exact(PLAIN, 0.1, reduction=0.5)(NET, X), "reduction=0.5"),
        (lambda: certify.Exact(PLAIN, 0.1, method=np.zeros(2))(NET, X), "method=ndarray"),
        (
            lambda: certify.gradient_bounds(NET, X, radius=0.1, method=np.zeros(2)),
            "choose one of",
        ),
        (lambda: explain.Captum("Saliency", options=5), "options is a int, expected a mapping"),
        (lambda: testing.check_explainer(PLAIN, NET, None), "inputs is a NoneType"),
        (lambda: explain.SmoothGrad(PLAIN, samples=2**63)(NET, X), "expected a number below 2"),
        (
            lambda: train.AttributionalRegularizers(points=2**63)(NET, X, torch.tensor([0, 1])),
            r"points=9223372036854775808, expected a number below 2\^63|below 2\*\*63",
        ),
        (lambda: explain.IntegratedGradients(steps=10**6)(NET, X), "take 'midpoint' for more"),
        (lambda: models.Classifier(NET, layout=X), "layout=Tensor"),
        (lambda: metric.random_logit(PLAIN, NET, X, similarity=NET), "similarity, Sequential"),
        (lambda: models.folded(NET, "pictures"), "inputs is str, expected a batch"),
        (lambda: models.folded(NET, X[:0]), r"inputs is \(0, 3, 8, 8\), expected a batch"),
        (lambda: decoy.make_decoys(NET, torch.tensor(0.5)), "expected a non-empty batch"),
        (lambda: write_whole("a\0", b""), "cannot write a"),
        (lambda: make_folder("a\0"), "cannot make the folder a"),
        (lambda: decoy.layers(NET, X, patch=-1), "patch=-1"),
        (lambda: explain.reduce(X, np.zeros(2)), "choose one of"),
        (lambda: audited(names=-0.5), "names is a float, expected a row for each sample"),
        (lambda: audited(names="ab"), "names is a str"),
        (lambda: audited(about=0.5), "about is a float, expected a mapping"),
        (lambda: audited(controls=X), "controls=Tensor, expected True or False"),
        (lambda: audited(layout=np.zeros(2)), "layout=array"),
        (lambda: surefoot.audit(NET, (torch.tensor(0.5), Y), explainers=[PLAIN]), "expected"),
        (
            lambda: train.fit(NET, train.Natural(), X[0, 0, 0, 0], train.Loop(1)),
            "are a Tensor, expected a map-style data set",
        ),
        (lambda: attack.PGD(attack.Linf(0.1, steps=1), loss=len)(NET, X, Y), "loss=.* cannot be"),
        (lambda: certify.gradient_bounds(NET, X, radius=0.1, score=np.zeros(2)), "is unknown"),
        (lambda: SAMPLES.augmented(float("inf")), "augment=inf, expected a callable"),
    ],
)
def test_it_is_named(call, says):
    with pytest.raises(SurefootError, match=says):
        call()


def test_what_is_right_still_goes_through():
    right = PLAIN(NET, X)
    assert torch.equal(bound(X), right)
    assert torch.equal(bound(X, [0, 1]), PLAIN(NET, X, torch.tensor([0, 1])))
    assert np.allclose(asked(X.numpy()), right)
    whole = torch.tensor([[[[0, 3], [6, 9]]]])
    assert torch.equal(explain.heatmap(whole), explain.heatmap(whole.float()))
    half = asked(X, net=nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval().bfloat16())
    assert half.dtype == np.float32  # NumPy has no bfloat16
    seeded = explain.SmoothGrad(PLAIN, samples=2, seed=2**64 + 1)(NET, X)
    assert torch.isfinite(seeded).all()
    assert len(audited(batch_size=np.int64(1), draws=np.int64(2))) == len(audited(batch_size=1))
    huge = train.InputGradientAlignment(0.1, steps=1, mean=2**63)(NET, X, Y)
    assert torch.isfinite(huge.total)
    names = audited(names=["a", "\udcff"]).frame()["name"].tolist()
    assert set(names) == {"a", r"\udcff"}


def test_tensors_without_plain_numbers_show_as_settings():
    dense = torch.eye(3)
    shown = [repr(explain.ExpectedGradients(one)) for one in (dense, dense.to_sparse())]
    assert shown[0] == shown[1]
    assert "tensor('sha256:" in repr(explain.ExpectedGradients(torch.ones(3, device="meta")))
