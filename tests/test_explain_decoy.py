"""The decoy explainer: the laws of Eq. 3 (T1 to T7), controls, independence of the batch."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from surefoot import SurefootError, SurefootWarning, explain
from surefoot.decoy import make_decoys
from surefoot.explain import Decoy, Gradient, InputXGradient, IntegratedGradients, SmoothGrad


class Quadratic(nn.Module):
    """Logits (x' H x / 2 + b' x, 0) above a narrow linear layer, which leaves decoys room."""

    def __init__(self, features=6):
        super().__init__()
        H = torch.randn(features, features).double()
        self.H, self.b = nn.Parameter(H + H.T), nn.Parameter(torch.randn(features).double())
        self.narrow = nn.Linear(features, 2).double()

    def forward(self, x):
        self.narrow(x)
        value = 0.5 * (x @ self.H * x).sum(1) + x @ self.b
        return torch.stack([value, torch.zeros_like(value)], 1)


def convolutional(activation=nn.ReLU):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3, 2, 1), activation(), nn.Conv2d(4, 6, 3, 1, 1), activation()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(6 * 36, 3)).eval()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(3, 3, 12, 12)


SMALL = {"layer": "0", "decoys": 8, "effort": "fast"}


def test_linear_model_has_range_zero_and_warns():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 3)).double().eval()
    with pytest.warns(SurefootWarning, match="score 'logit' is linear .* layer '0'"):
        a = Decoy(Gradient(), layer="0")(net, torch.rand(2, 6).double())
    assert (a == 0).all()


def test_quadratic_range_is_the_hessian_times_the_decoys_way():
    """T2: Z_i = max over pairs of |sum_k (x+_k - x-_k) H_ki|, here with one mask."""
    torch.manual_seed(0)
    net, x = Quadratic().eval(), torch.rand(2, 6).double()
    settings = {"layer": "narrow", "patch": 6, "units": "absolute", "epsilon": 0.01}
    with pytest.warns(SurefootWarning, match="is no cut"):
        d = make_decoys(net, x, **settings)
    assert d.inputs.shape[1] == 2
    way = d.inputs[:, 0] - d.inputs[:, 1]
    expected = (way @ net.H).abs()
    with pytest.warns(SurefootWarning, match="is no cut"):
        found = Decoy(Gradient(), **settings)(net, x, 0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.min() > 0


def test_relu_logits_have_range_zero_inside_a_cell_and_not_across(images):
    """T4: the logit's gradient is constant where no ReLU changes its state."""
    net = convolutional()
    kept = Decoy(Gradient(), layer="0", decoys=8, epsilon=1e-7, effort="fast")
    with pytest.warns(SurefootWarning, match="zero everywhere"):
        assert kept(net, images, 0).max() == 0
    crossed = Decoy(Gradient(), layer="0", decoys=8, epsilon=1.0, effort="fast")
    assert (crossed(net, images, 0).flatten(1).amax(1) > 0).all()


def test_range_is_max_minus_min_over_the_decoys(images):
    net = convolutional(nn.Softplus)
    e = Decoy(IntegratedGradients(steps=3), **SMALL)
    d = make_decoys(net, images, **SMALL)
    target = net(images).argmax(1)
    maps = torch.stack([e.base(net, d.inputs[:, j], target) for j in range(d.inputs.shape[1])])
    expected = maps.amax(0) - maps.amin(0)
    torch.testing.assert_close(e(net, images), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        replace(e, aggregate="mean")(net, images), maps.mean(0), rtol=1e-4, atol=1e-6
    )
    with_original = torch.cat([maps, e.base(net, images, target)[None]])
    torch.testing.assert_close(
        replace(e, include_original=True)(net, images),
        with_original.amax(0) - with_original.amin(0),
        rtol=1e-4,
        atol=1e-6,
    )


def test_invariances_of_the_range(images):
    """T5: order of decoys, an added decoy, the model's scale, identical decoys."""
    net, e = convolutional(nn.Softplus).double(), Decoy(Gradient(), **SMALL)
    x = images.double()
    offsets = e.offsets(net, x)
    at = e.at_offsets(net, x, offsets, 0)
    assert torch.equal(e.at_offsets(net, x, offsets.flip(1), 0), at)
    assert (at >= e.at_offsets(net, x, offsets[:, :-2], 0)).all()
    assert (at >= 0).all()
    assert (e.at_offsets(net, x, offsets[:, :1].repeat(1, 3, 1, 1, 1), 0) == 0).all()
    scaled = convolutional(nn.Softplus).double()
    with torch.no_grad():
        scaled[5].weight.mul_(-3)
    torch.testing.assert_close(e.at_offsets(scaled, x, offsets, 0), 3 * at)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_map_does_not_depend_on_the_batch(images, dtype):
    net, x = convolutional(nn.Softplus).to(dtype), images.to(dtype)
    for base in (Gradient(), SmoothGrad(samples=3)):
        e = Decoy(base, **SMALL)
        together = e(net, x, torch.tensor([0, 1, 2]))
        alone = torch.cat([e(net, x[i : i + 1], i) for i in range(3)])
        backwards = e(net, x.flip(0), torch.tensor([2, 1, 0])).flip(0)
        limit = (1e-10 if dtype == torch.float64 else 1e-4) * together.abs().max()
        assert (together - alone).abs().max() <= limit
        assert (together - backwards).abs().max() <= limit
        assert (together - replace(e, chunk=2)(net, x, torch.arange(3))).abs().max() <= limit


def test_gradients_through_the_map_with_offsets_fixed(images):
    net = convolutional(nn.Softplus).double()
    x = images[:1].double()
    e = Decoy(Gradient(score="probability"), **SMALL)
    offsets = e.offsets(net, x)[:, :4]
    names = [name for name, _ in net.named_parameters()]

    def of_inputs(z):
        return e.at_offsets(net, z, offsets, 1, create_graph=True)

    def of_parameters(*values):
        class Bound(nn.Module):
            def forward(self, z):
                return torch.func.functional_call(net, dict(zip(names, values, strict=True)), z)

        return e.at_offsets(Bound().eval(), x, offsets, 1, create_graph=True)

    assert torch.autograd.gradcheck(of_inputs, x.clone().requires_grad_(), fast_mode=True)
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(of_parameters, values, fast_mode=True)
    inputs = x.clone().requires_grad_()
    through_search = e(net, inputs, 1)
    (slope,) = torch.autograd.grad(through_search.sum(), inputs)
    assert torch.isfinite(slope).all()
    assert slope.abs().max() > 0


@pytest.mark.parametrize("source", ["constant", "noise", "blur"])
def test_controls_have_the_size_of_the_optimised_decoys(images, source):
    net = convolutional(nn.Softplus)
    best = Decoy(Gradient(), **SMALL).offsets(net, images)
    e = Decoy(Gradient(), source=source, **SMALL)
    moves = e.offsets(net, images)
    d = make_decoys(net, images, **SMALL)
    off = ~d.masks[None, :, None].expand_as(moves)
    assert (moves[off] == 0).all()
    assert (images[:, None] + moves).min() >= 0
    assert (images[:, None] + moves).max() <= 1
    for j, corners in enumerate(d.corners):
        for row, column in corners.tolist():
            where = (slice(None), j, slice(None), slice(row, row + 3), slice(column, column + 3))
            size, wanted = (t[where].abs().sum((1, 2, 3)) for t in (moves, best))
            assert (size <= wanted + 1e-4).all()
            assert (size >= 0.5 * wanted).all(), "only the box may shorten a control"
    assert e(net, images, 0).shape == images.shape


def test_explanation_carries_range_ends_and_certificate(images):
    net = convolutional(nn.Softplus)
    e = Decoy(InputXGradient(), **SMALL)
    result = e.explain(net, images)
    torch.testing.assert_close(result.attributions, e(net, images))
    assert torch.equal(result.details["high"] - result.details["low"], result.attributions)
    assert result.details["deviation"].shape == result.details["swing"].shape == (3, 8)
    assert result.details["deviation"].max() <= e.epsilon
    assert 0 < float(result.details["coverage"]) <= 1
    chosen = replace(e, layer=None).explain(net, images).explainer
    assert chosen.layer in dict(net.named_modules())


def test_records_and_sentences():
    torch.manual_seed(0)
    records = torch.rand(2, 9)
    table = nn.Sequential(nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    a = Decoy(Gradient(), layer="0", patch=2)(table, records)
    assert explain.heatmap(a).shape == (2, 9)

    class Text(nn.Module):
        layout = "tokens"

        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Conv1d(6, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x, mask):
            return self.head(torch.tanh(self.mix(x.mT) * mask[:, None]).amax(2))

    words, mask = torch.randn(2, 5, 6), torch.ones(2, 5)
    e = Decoy(IntegratedGradients(steps=4), layer="mix", patch=1, bounds=(-5, 5))
    a = e(Text().eval(), words, extra={"mask": mask}, layout="tokens")
    assert explain.reduce(a, "mean", "tokens").shape == (2, 5)
    assert a.min() >= 0
    assert a.max() > 0


def test_any_callable_can_be_enhanced(images):
    net = convolutional(nn.Softplus)

    def method(model, x, target):
        return Gradient()(model, x, target)

    a = Decoy(method, **SMALL)(net, images)
    torch.testing.assert_close(a, Decoy(Gradient(), **SMALL)(net, images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "swap"}, "'swap' is unknown"),
        ({"aggregate": "sum"}, "'sum' is unknown"),
        ({"layer": "9"}, "not a submodule"),
        ({"base": Gradient}, r"write Gradient\(\)"),
    ],
)
def test_bad_settings_are_refused(images, settings, message):
    e = replace(Decoy(Gradient(), **SMALL), **settings)
    with pytest.raises(SurefootError, match=message):
        e(convolutional(), images)


def test_blur_needs_images_and_offsets_need_their_shape(images):
    table = nn.Sequential(nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    with pytest.raises(SurefootError, match="needs images"):
        Decoy(Gradient(), layer="0", source="blur")(table, torch.rand(1, 9))
    with pytest.raises(SurefootError, match=r"expected \(N, M, ...\)"):
        Decoy(Gradient()).at_offsets(convolutional(), images, torch.zeros(3, 12, 12))
