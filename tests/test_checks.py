"""Every message says what came, what was expected and what to do."""

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, checks
from surefoot.explain import ExpectedGradients, Gradient, IntegratedGradients, SmoothGrad


def linear(features=4, classes=3):
    torch.manual_seed(0)
    return nn.Linear(features, classes).eval()


X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


class Returns(nn.Module):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, x):
        return self.result(x)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda x: x, "model is a function, expected a torch.nn.Module"),
        (linear().train(), r"training mode \(the model\).*model.eval\(\)"),
        (nn.Sequential(linear(), nn.Dropout().train()).eval(), None),
        (Returns(lambda x: (x, x)).eval(), "returned a tuple.*Classifier.*output"),
        (Returns(lambda x: {"logits": x}).eval(), 'returned a dict.*output="logits"'),
        (Returns(lambda x: x.sum(1)).eval(), r"shape \(2,\) for 2 inputs, expected logits"),
        (Returns(lambda x: x[:, :1]).eval(), r"shape \(2, 1\).*K >= 2"),
        (Returns(lambda x: x[:1]).eval(), r"shape \(1, 4\) for 2 inputs"),
        (Returns(lambda x: x[None]).eval(), r"shape \(1, 2, 4\)"),
        (Returns(lambda x: x.long()).eval(), "dtype torch.int64, expected floating-point"),
        (Returns(lambda x: x.detach() + 1).eval(), "no gradient with respect to its inputs"),
        (Returns(lambda x: x.sqrt() * 0).eval(), None),
        (Returns(lambda x: (x - x).sqrt()).eval(), "NaN or infinite.*sqrt"),
    ],
)
def test_models(model, says):
    if says is None:
        Gradient()(model, X, 1)
        return
    with pytest.raises(SurefootError, match=f"(?s){says}"):
        Gradient()(model, X, 1)


def test_one_part_in_training_mode_is_named():
    model = nn.Sequential(linear(), nn.Dropout()).eval()
    model[1].train()
    with pytest.raises(SurefootError, match=r"training mode \(1\)"):
        Gradient()(model, X)


class Detached(nn.Module):
    """Parameters with gradients hide that the inputs have none."""

    def __init__(self):
        super().__init__()
        self.head = linear()

    def forward(self, x):
        return self.head(x.detach())


def test_a_cut_graph_is_an_error_not_a_map_of_zeros():
    with pytest.raises(SurefootError, match="no gradient with respect to its inputs"):
        Gradient()(Detached().eval(), X)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (np.zeros((2, 4)), "inputs is a ndarray.*torch.as_tensor"),
        (None, "inputs is a NoneType"),
        (torch.zeros(2, 4, dtype=torch.long), r"int64.*x\.float\(\) / 255.*model\.embed"),
        (torch.zeros(2, 4, dtype=torch.bool), "torch.bool, expected floating point"),
        (torch.zeros(4), r"shape \(4,\).*x\[None\]"),
        (torch.zeros(()), r"shape \(\)"),
        (torch.zeros(0, 4), r"shape \(0, 4\), expected a non-empty batch"),
        (torch.zeros(2, 0), "non-empty"),
        (torch.tensor([[float("nan"), 0, float("inf"), 0]]), "2 NaN or infinite values"),
    ],
)
def test_inputs(inputs, says):
    with pytest.raises(SurefootError, match=says):
        Gradient()(linear(), inputs)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (3, r"\[3, 3\], expected class indices in \[0, 2\]: the model has 3 outputs"),
        (-1, r"\[-1, -1\]"),
        (torch.tensor([0, 7]), r"\[0, 7\]"),
        (1.0, "float32, expected integer"),
        (torch.tensor([True, False]), "torch.bool, expected integer"),
        (torch.tensor([0, 1, 2]), r"shape \(3,\), expected one class, or one for each of the 2"),
        (torch.tensor([[0, 1]]), r"shape \(1, 2\)"),
        ("cat", "target='cat', expected integer class indices"),
    ],
)
@pytest.mark.parametrize(
    "explainer", [Gradient(), IntegratedGradients(steps=2), SmoothGrad(samples=2)], ids=repr
)
def test_targets(explainer, target, says):
    with pytest.raises(SurefootError, match=says):
        explainer(linear(), X, target)


@pytest.mark.parametrize("target", [1, [1, 1], np.array([1, 1]), torch.tensor(1), np.int64(1)])
def test_targets_in_many_forms(target):
    assert torch.equal(Gradient()(linear(), X, target), linear().weight[1].expand(2, 4))


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"mask": torch.ones(3)}, r"extra\['mask'\] is \(3,\).*leading dimension 2"),
        ({"mask": torch.tensor(1.0)}, r"'mask', which Linear.forward does not take.*input"),
        ({"mask": [1, 2]}, r"'mask', which Linear.forward does not take.*input"),
        ({"input": X}, r"1 inputs came beside extra=\['input'\], but Linear.forward takes"),
        ([torch.ones(2)], "extra is a list, expected a dict"),
    ],
)
def test_extra(extra, says):
    with pytest.raises(SurefootError, match=says):
        Gradient()(linear(), X, extra=extra)


def test_bounds_come_back_shaped_like_an_input():
    low, high = checks.check_bounds(X, (0, torch.tensor([1.0, 1, 1, 2])))
    assert torch.equal(low, torch.zeros(4))
    assert torch.equal(high, torch.tensor([1.0, 1, 1, 2]))


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ((0.5, 1), r"leave bounds \[0.5, 1\].*Classifier"),
        ((0, 0.1), "leave bounds"),
        ((1, 0), "not ordered"),
        ((0, torch.ones(3)), r"shape \(3,\), which does not broadcast to one input \(4,\)"),
        (1, "expected a pair"),
        ((0, 0.5, 1), "expected a pair"),
    ],
)
def test_bounds(bounds, says):
    with pytest.raises(SurefootError, match=says):
        checks.check_bounds(X, bounds)


@pytest.mark.parametrize(
    ("explainer", "says"),
    [
        (Gradient("logits"), r"score='logits' is unknown; choose one of \['logit'"),
        (IntegratedGradients(steps=0), "steps=0, expected at least 1"),
        (IntegratedGradients(steps=1, quadrature="trapezoid"), "at least 2"),
        (IntegratedGradients(quadrature="simpson"), "quadrature='simpson' is unknown"),
        (IntegratedGradients(baseline=torch.zeros(3)), r"\(3,\), which does not broadcast"),
        (IntegratedGradients(baseline=float("nan")), "baseline holds NaN"),
        (SmoothGrad(samples=0), "samples=0"),
        (SmoothGrad(std=-1), "std=-1"),
        (SmoothGrad(std=float("nan")), "std=nan"),
        (SmoothGrad(statistic="median"), "statistic='median'"),
        (SmoothGrad(Gradient), r"write Gradient\(\)"),
        (SmoothGrad(3), "3 is not an explainer"),
        (ExpectedGradients(torch.zeros(2, 3)), r"\(2, 3\), expected\s+\(B, 4\)"),
        (ExpectedGradients(torch.zeros(2, 4), samples=0), "samples=0"),
        (ExpectedGradients(torch.zeros(2, 4).long()), "baselines has dtype"),
    ],
    ids=repr,
)
def test_settings(explainer, says):
    with pytest.raises(SurefootError, match=says):
        explainer(linear(), X, 1)
