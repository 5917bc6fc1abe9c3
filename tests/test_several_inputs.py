"""Several inputs together, arguments of any type, and the names of a model's own signature."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain, gradients, maps
from surefoot.models import Classifier


class Two(nn.Module):
    """An image and a table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(9, 3)

    def forward(self, image, table, scale=1.0, power=None):
        seen = self.conv(image).tanh().mean((2, 3)) * scale
        return self.head(torch.cat([seen, table.tanh() ** (power or 1)], 1))


NET = Two().double().eval()
SOURCE = torch.Generator().manual_seed(1)
IMAGE = torch.rand(3, 3, 8, 8, generator=SOURCE, dtype=torch.float64)
TABLE = torch.rand(3, 5, generator=SOURCE, dtype=torch.float64)
BOTH = (IMAGE, TABLE)
EXPLAINERS = [
    explain.Gradient(),
    explain.Gradient(score="probability"),
    explain.InputXGradient(),
    explain.IntegratedGradients(steps=5),
    explain.IntegratedGradients(steps=5, baseline=(0.5, torch.full((5,), 0.25))),
    explain.SmoothGrad(samples=3, std=0.0),
    explain.ExpectedGradients((IMAGE.flip(0), TABLE.flip(0)), samples=6),
]


def by_autograd(model, inputs, target, **extra):
    points = [x.clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(model(*points, **extra)[:, target].sum(), points)


def test_the_gradient_of_each_is_that_of_autograd():
    found = explain.Gradient()(NET, BOTH, 1)
    assert isinstance(found, tuple)
    for map_, expected in zip(found, by_autograd(NET, BOTH, 1), strict=True):
        torch.testing.assert_close(map_, expected)


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda e: type(e).__name__)
def test_maps_have_their_inputs_shapes_and_stay_within_their_samples(explainer):
    whole = explainer(NET, BOTH, None)
    assert [map_.shape for map_ in whole] == [x.shape for x in BOTH]
    labels = NET(*BOTH).argmax(1)
    for i in range(3):
        one = explainer(NET, (IMAGE[i : i + 1], TABLE[i : i + 1]), labels[i : i + 1])
        for map_, alone in zip(whole, one, strict=True):
            torch.testing.assert_close(map_[i : i + 1], alone)


def test_integrated_gradients_are_complete_over_all_inputs():
    e = explain.IntegratedGradients(steps=40, baseline=(0.5, 0.25))
    found = e(NET, BOTH, 0)
    start = [torch.full_like(IMAGE, 0.5), torch.full_like(TABLE, 0.25)]
    change = (NET(*BOTH) - NET(*start))[:, 0].detach()
    total = sum(map_.flatten(1).sum(1) for map_ in found)
    torch.testing.assert_close(total, change, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(e.completeness_gap(NET, BOTH, 0), total - change)


def test_a_map_of_several_inputs_can_be_differentiated():
    points = [x.clone().requires_grad_() for x in BOTH]
    image_map, _ = explain.Gradient()(NET, points, 1)
    second = torch.autograd.grad(image_map.square().sum(), points[0])[0]
    way = torch.zeros_like(IMAGE)
    way[:, 1, 3, 3] = 1e-5
    ahead, behind = (
        explain.Gradient()(NET, (IMAGE + sign * way, TABLE), 1)[0].square().sum((1, 2, 3))
        for sign in (1, -1)
    )
    torch.testing.assert_close(second[:, 1, 3, 3], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-9)


def test_precisions_are_kept():
    class Mixed(Two):
        def forward(self, image, table):
            assert (image.dtype, table.dtype) == (torch.float32, torch.float64)
            return super().forward(image.double(), table)

    found = explain.Gradient()(Mixed().double().eval(), (IMAGE.float(), TABLE), 1)
    assert [map_.dtype for map_ in found] == [torch.float32, torch.float64]


def test_an_explanation_shows_each_input_in_its_layout():
    result = explain.Gradient().explain(NET, BOTH)
    assert result.layout.layouts == ("image", "record")
    assert [tuple(h.shape) for h in result.heatmap()] == [(3, 8, 8), (3, 5)]
    torch.testing.assert_close(result.confidence(), NET(*BOTH).softmax(1).amax(1))
    waves = nn.Conv1d(2, 4, 3)

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = waves

        def forward(self, x, y):
            return self.conv(x).mean(2) + self.conv(y).mean(2)

    pair, net = (torch.rand(2, 2, 9), torch.rand(2, 2, 7)), Waves().eval()
    with pytest.raises(SurefootError, match=r"inputs\[0\] have shape \(1, 2, 9\): a signal"):
        explain.Gradient().explain(net, pair).heatmap()
    said = explain.Gradient().explain(net, pair, layout=("signal", "tokens")).heatmap()
    assert [tuple(h.shape) for h in said] == [(2, 9), (2, 2)]
    by_model = explain.Gradient().explain(Classifier(net, layout="signal"), pair)
    assert by_model.layout.layouts == ("signal", "signal")


def test_an_attack_moves_all_of_them_inside_their_bounds():
    low, high = (0.0, torch.full((5,), -1.0)), (1.0, 2.0)
    budget = attack.Linf(0.2, steps=8, bounds=(low, high))
    found = attack.TopK(budget, k=6)(NET, BOTH, None, explain.Gradient())
    assert [x.shape for x in found.inputs] == [x.shape for x in BOTH]
    for before, after, end in zip(BOTH, found.inputs, (0.0, -1.0), strict=True):
        assert 0 < (before - after).abs().max() <= 0.2 + 1e-12
        assert after.min() >= end
    assert found.label_kept.all()
    assert torch.equal(NET(*found.inputs).argmax(1), NET(*BOTH).argmax(1))
    for map_, expected in zip(found.after, explain.Gradient()(NET, found.inputs), strict=True):
        torch.testing.assert_close(map_, expected)
    rows = [
        torch.cat([maps.reduce(a).flatten(1) for a in each], 1)
        for each in (found.before, found.after)
    ]
    tops = [row.topk(6).indices.tolist() for row in rows]
    shared = [len(set(a) & set(b)) / 6 for a, b in zip(*tops, strict=True)]
    assert found.scores["topk_intersection"].tolist() == pytest.approx(shared)
    assert min(shared) < 1
    assert len(found) == 3
    assert [len(x) for x in found[:2].inputs] == [2, 2]
    lost = attack.PGD(attack.L2(3.0, steps=5))(NET, BOTH)
    apart = sum((a - b).flatten(1).square().sum(1) for a, b in zip(BOTH, lost.inputs, strict=True))
    assert apart.sqrt().max() <= 3 + 1e-9
    assert not lost.robust.all()


@pytest.mark.filterwarnings("ignore:layer 'head' does not see all of the input")
def test_decoys_move_one_input_at_a_time():
    e = explain.Decoy(explain.Gradient(score="probability"), layer="head", decoys=4, patch=2)
    found = e(NET, BOTH, 1)
    torch.testing.assert_close(found[0], e(NET, IMAGE, 1, extra={"table": TABLE}))
    torch.testing.assert_close(found[1], e(NET, TABLE, 1, extra={"image": IMAGE}))
    assert all(each.any() for each in found)
    with pytest.raises(SurefootError, match="does not see the input"):
        replace(e, layer="conv")(NET, TABLE, 1, extra={"image": IMAGE})
    with pytest.raises(SurefootError, match="cannot be attacked through several inputs"):
        attack.TopK(attack.Linf(0.1, steps=1), k=2)(NET, BOTH, None, e)


@pytest.mark.parametrize("values", [{"scale": 0.5}, {"scale": 2, "power": 3}, {"power": None}])
def test_other_arguments_may_be_of_any_type(values):
    e = explain.IntegratedGradients(steps=4)
    found = e(NET, IMAGE, 1, extra={"table": TABLE, **values})
    torch.testing.assert_close(found, e(Given(values), IMAGE, 1, extra={"table": TABLE}))
    map_ = explain.Gradient()(NET, BOTH, 1, extra=values)
    for one, other in zip(map_, by_autograd(NET, BOTH, 1, **values), strict=True):
        torch.testing.assert_close(one, other)
    attack.TopK(attack.Linf(0.1, steps=2), k=4)(
        NET, IMAGE, 1, explain.Gradient(), extra={"table": TABLE, **values}
    )


class Given(nn.Module):
    """The net with its further arguments bound."""

    def __init__(self, values) -> None:
        super().__init__()
        self.net, self.values = NET, values
        self.eval()

    def forward(self, image, table):
        return self.net(image, table, **self.values)


def test_the_inputs_go_where_extra_leaves_room():
    expected = by_autograd(NET, BOTH, 2)
    for model in (NET, Classifier(NET), Given({})):
        torch.testing.assert_close(
            explain.Gradient()(model, TABLE, 2, extra={"image": IMAGE}), expected[1]
        )
        torch.testing.assert_close(
            explain.Gradient()(model, IMAGE, 2, extra={"table": TABLE}), expected[0]
        )
    assert gradients.further_names(NET) == ["table", "scale", "power"]


@pytest.mark.parametrize(
    ("inputs", "extra", "says"),
    [
        (IMAGE, None, r"Two.forward also needs 'table'; pass it as extra=\{'table': "),
        (IMAGE, {"tabel": TABLE}, "'tabel', which Two.forward does not take; did you mean table"),
        (BOTH, {"table": TABLE, "image": IMAGE, "scale": 1, "power": 1}, "2 inputs came beside"),
        ((IMAGE, TABLE[:2]), None, r"have \[3, 2\] samples"),
        ((IMAGE, TABLE.long()), None, r"inputs\[1\] has dtype torch.int64"),
        (BOTH, {"scale": torch.ones(2)}, r"extra\['scale'\] is \(2,\).*leading dimension 3"),
    ],
)
def test_what_is_missing_or_unknown_is_named(inputs, extra, says):
    for model in (NET, Classifier(NET)):
        with pytest.raises(SurefootError, match=says):
            explain.Gradient()(model, inputs, 0, extra=extra)


@pytest.mark.parametrize(
    ("explainer", "says"),
    [
        (explain.IntegratedGradients(baseline=(0.0, 0.0, 0.0)), "3 baselines came for 2 inputs"),
        (explain.ExpectedGradients(TABLE), r"baselines have shape \(3, 5\)"),
    ],
)
def test_settings_that_do_not_fit_the_inputs(explainer, says):
    with pytest.raises(SurefootError, match=says):
        explainer(NET, BOTH, 0)
    budget = attack.Linf(0.1, steps=1, bounds=((0, 0, 0), 1))
    with pytest.raises(SurefootError, match="3 bounds came for 2 inputs"):
        attack.TopK(budget, k=2)(NET, BOTH, None, explain.Gradient())
    with pytest.raises(SurefootError, match="for 2 inputs; give one name for each"):
        explain.Gradient()(NET, BOTH, 0, layout=("image",))


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (explain.InputXGradient(), explain.Captum("InputXGradient")),
        (
            explain.IntegratedGradients(steps=6, baseline=(0.5, 0.25)),
            explain.Captum("IntegratedGradients", n_steps=6, baselines=(0.5, 0.25)),
        ),
    ],
    ids=["ixg", "ig"],
)
def test_captums_methods_take_several_inputs(mine, theirs):
    pytest.importorskip("captum")
    for extra in ({}, {"scale": 0.5}):
        found, expected = theirs(NET, BOTH, 1, extra=extra), mine(NET, BOTH, 1, extra=extra)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_a_function_gets_a_tuple_and_gives_one():
    found = explain.as_explainer(lambda model, inputs, target: by_autograd(model, inputs, 1))
    for one, other in zip(found(NET, BOTH, 1), by_autograd(NET, BOTH, 1), strict=True):
        torch.testing.assert_close(one, other)
    wrong = explain.as_explainer(lambda model, inputs, target: inputs[:1])
    with pytest.raises(SurefootError, match="must return a tuple of maps"):
        wrong(NET, BOTH, 1)


def test_an_explanation_of_several_inputs_tells_what_it_is(tmp_path):
    result = explain.Gradient().explain(NET, BOTH)
    assert "(3, 3, 8, 8) + (3, 5)" in repr(result)
    assert result._repr_png_().startswith(b"\x89PNG")  # side by side
    result.save(tmp_path / "both.npz")
    kept = explain.Explanation.load(tmp_path / "both.npz")
    assert kept.layout == result.layout
    assert all(map(torch.equal, kept.attributions, result.attributions))
