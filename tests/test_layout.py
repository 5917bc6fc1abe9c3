"""What the axes of inputs mean is said once, and followed by whatever reduces or draws."""

import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain, maps, metric, models

SHAPES = {
    "image": (2, 3, 4, 5),
    "volume": (2, 3, 4, 5, 6),
    "signal": (2, 3, 7),
    "tokens": (2, 7, 3),
    "record": (2, 7),
}


class Waves(nn.Module):
    """A network over signals (N, C, L)."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(channels, 6, 5, padding=2)
        self.last = nn.Conv1d(6, 3, 5, padding=2)

    def forward(self, x):
        return self.last(self.first(x).tanh()).tanh().mean(2)


def said(layout):
    return models.Classifier(Waves(), layout=layout)


@pytest.mark.parametrize("layout", maps.LAYOUTS)
def test_places_are_what_is_left_when_channels_are_reduced(layout):
    a = torch.randn(SHAPES[layout])
    reduced = maps.reduce(a, "sum_abs", layout)
    assert tuple(reduced.shape[1:]) == maps.places(layout, a)
    assert tuple(reduced.shape[1:]) == tuple(a.shape[axis] for axis in maps.place_axes(layout))
    assert maps.spread(reduced, layout).expand_as(a).shape == a.shape
    assert maps.map_shape(reduced, a, layout) == maps.spread(reduced, layout).shape[1:]
    assert maps.map_shape(a, a, layout) == a.shape[1:]


@pytest.mark.parametrize("layout", maps.LAYOUTS)
def test_only_three_axes_can_be_mistaken(layout):
    shape = SHAPES[layout]
    if len(shape) == 3:
        with pytest.raises(SurefootError, match=r'a signal .*embedded tokens.*layout="signal"'):
            maps.layout_of(shape)
        assert maps.known_layout(shape) is None
    else:
        assert maps.layout_of(shape) == layout
    assert maps.layout_of(shape, layout=layout) == layout
    assert maps.layout_of(shape, models.Classifier(nn.Flatten(), layout=layout)) == layout


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: maps.layout_of((2, 3, 4), layout="series"), "'series' is unknown.*signal"),
        (lambda: maps.layout_of((2, 3, 4), layout="image"), r"'image' is \(N, C, H, W\), but"),
        (lambda: maps.layout_of((2, 3, 4, 5, 6, 7)), "expected one of .*volume"),
        (
            lambda: maps.layout_of(
                (2, 3, 4), models.Classifier(Waves(), layout="signal"), "tokens"
            ),
            "'tokens' in this call, but the model says 'signal'",
        ),
        (lambda: models.Classifier(Waves(), layout="wave"), "'wave' is unknown"),
        (
            lambda: models.Classifier(nn.Embedding(3, 2), embedding="", layout="signal"),
            "embedded text",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, says):
    with pytest.raises(SurefootError, match=says):
        call()


@pytest.mark.parametrize(
    ("h", "inputs", "layout"),
    [
        ((2, 1), (2, 7), None),  # one number a record says nothing of its features
        ((2, 3), (2, 3, 7), "signal"),  # one a channel
        ((2, 7), (2, 7, 3), "signal"),
        ((2, 1, 3), (2, 7, 3), "tokens"),  # one an embedding dimension
        ((2, 4, 4), (2, 3, 4, 5), None),
        ((3, 4, 5), (2, 3, 4, 5), None),  # other samples
        ((2, 5, 6), (2, 3, 4, 5, 6), None),
    ],
)
def test_a_map_that_does_not_fit_its_inputs_is_refused(h, inputs, layout):
    with pytest.raises(SurefootError, match="does not fit inputs"):
        maps.map_shape(torch.zeros(h), torch.zeros(inputs), layout)


def test_a_map_of_one_number_a_place_tells_a_signal_from_tokens():
    x = torch.zeros(2, 3, 7)
    assert maps.fitted(torch.zeros(2, 7), x) == "signal"
    assert maps.fitted(torch.zeros(2, 3), x) == "tokens"
    assert maps.fitted(torch.zeros(2, 3, 1), x) == "tokens"
    for undecided in (torch.zeros(2, 3, 7), torch.zeros(2, 4)):
        with pytest.raises(SurefootError, match="Say which"):
            maps.fitted(undecided, x)
    square = torch.zeros(2, 4, 4)
    with pytest.raises(SurefootError, match="Say which"):
        maps.fitted(torch.zeros(2, 4), square)


def test_an_explanation_carries_the_layout():
    net, x = Waves().eval(), torch.rand(2, 1, 40)
    unsaid = explain.Gradient().explain(net, x)
    assert unsaid.layout is None
    with pytest.raises(SurefootError, match=r"signal \(N, C, L\)"):
        unsaid.heatmap()
    by_call = explain.Gradient().explain(net, x, layout="signal")
    by_model = explain.Gradient().explain(models.Classifier(net, layout="signal"), x)
    assert by_call.layout == by_model.layout == "signal"
    assert by_call.heatmap().shape == (2, 40)
    assert torch.equal(by_call.heatmap(), unsaid.heatmap(layout="signal"))
    assert torch.equal(by_call.heatmap(), by_model.heatmap())


@pytest.mark.parametrize("explainer", [explain.Gradient(), explain.IntegratedGradients(steps=4)])
def test_an_attack_on_a_signal_counts_its_moments(explainer):
    net, x = Waves(2).eval(), torch.rand(3, 2, 40, generator=torch.Generator().manual_seed(1))
    topk = attack.TopK(attack.Linf(0.1, steps=3), k=4)
    with pytest.raises(SurefootError, match=r"signal \(N, C, L\)"):
        topk(net, x, None, explainer)
    result = topk(net, x, None, explainer, layout="signal")
    assert result.layout == "signal"
    before, after = (a.abs().sum(1).topk(4).indices for a in (result.before, result.after))
    shared = [
        len(set(b.tolist()) & set(a.tolist())) / 4 for b, a in zip(before, after, strict=True)
    ]
    assert result.scores["topk_intersection"].tolist() == pytest.approx(shared)
    assert min(shared) < 1
    with pytest.raises(SurefootError, match="k=41"):
        attack.TopK(attack.Linf(0.1, steps=1), k=41)(net, x, None, explainer, layout="signal")


def test_a_layers_map_is_spread_over_time():
    pytest.importorskip("captum")
    net, x = Waves().eval(), torch.rand(2, 1, 40)
    result = explain.Captum("LayerActivation", layer="first")(net, x, 0, layout="signal")
    expected = net.first(x).sum(1, keepdim=True)
    torch.testing.assert_close(result, expected.detach())
    half = nn.Sequential(nn.Conv1d(1, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(76, 3))
    cam = explain.Captum("LayerGradCam", layer="0")(half.eval(), x, 0, layout="signal")
    assert cam.shape == x.shape
    assert cam.std(2).min() > 0


def test_channels_of_a_signal_are_normalised_along_dimension_1():
    net, x, mean = Waves(2).eval(), torch.rand(3, 2, 40), torch.tensor([0.25, 0.75])
    expected = net(x - mean[:, None])
    assert torch.equal(models.Classifier(net, mean, layout="signal")(x), expected)
    assert torch.equal(models.Classifier(net, mean)(x), expected)  # only one axis has two entries
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(SurefootError, match="Say which"):
        models.Classifier(flat, mean)(torch.rand(3, 2, 2))


def test_a_signal_is_deleted_in_time():
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 2)).eval()
    x = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(2))
    h = torch.rand(3, 4, generator=torch.Generator().manual_seed(3))
    order = h.argsort(1, descending=True)
    mean = x.mean(2, keepdim=True).expand_as(x)
    expected, gone = [], x.clone()
    for step in range(5):
        expected.append(net(gone).softmax(1)[torch.arange(3), net(x).argmax(1)])
        if step < 4:
            for row, place in enumerate(order[:, step]):
                gone[row, :, place] = mean[row, :, place]
    expected = torch.trapezoid(torch.stack(expected, 1), dx=0.25, dim=1)
    by_map = metric.deletion(net, x, h)  # a number a moment: the map tells
    by_call = metric.deletion(net, x, h, layout="signal")
    by_model = metric.deletion(models.Classifier(net, layout="signal"), x, h)
    for found in (by_map, by_call, by_model):
        torch.testing.assert_close(found, expected)
    with pytest.raises(SurefootError, match="does not fit inputs"):
        metric.deletion(net, x, h, layout="tokens")
    with pytest.raises(SurefootError, match="Say which"):
        metric.deletion(net, x, torch.rand(3, 2, 4))
    assert metric.deletion(net, x, torch.rand(3, 2, 4), layout="signal").shape == (3,)
    assert metric.deletion(net, x, torch.rand(3, 2, 4), baseline="black").shape == (3,)


@pytest.mark.parametrize("layout", maps.LAYOUTS)
def test_a_mean_is_over_the_places(layout):
    x = torch.rand(SHAPES[layout])
    axes = {"image": (2, 3), "volume": (2, 3, 4), "signal": 2, "tokens": 1, "record": 1}[layout]
    net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2)).eval()
    whole = metric.perturbation_curve(net, x, torch.rand_like(x), 0, score="logit", layout=layout)
    expected = net(x.mean(axes, keepdim=True).expand_as(x))[:, 0].detach()
    torch.testing.assert_close(whole.score[:, -1], expected)


def test_a_signal_is_blurred_along_its_length():
    x = torch.rand(2, 3, 30)
    net = nn.Sequential(nn.Flatten(), nn.Linear(90, 2)).eval()
    asked = {"baseline": "blur", "score": "logit", "layout": "signal", "steps": 1}
    gone = metric.perturbation_curve(net, x, torch.rand(2, 30), 0, **asked).score[:, -1]
    weights = torch.exp(-0.5 * (torch.arange(-5.0, 6.0) / 5) ** 2)
    padded = nn.functional.pad(x, (5, 5), mode="replicate").unfold(2, 11, 1)
    expected = (padded * weights).sum(3) / weights.sum()
    torch.testing.assert_close(gone, net(expected)[:, 0].detach())


def test_a_map_of_one_number_a_record_is_refused_by_metrics():
    net, x = nn.Linear(5, 2).eval(), torch.rand(3, 5)
    with pytest.raises(SurefootError, match="does not fit inputs"):
        metric.deletion(net, x, torch.rand(3, 1))
