"""Layers of captum's methods: found by themselves, tokens laid out as the grid they are."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import nn

import surefoot
from surefoot import SurefootError, SurefootWarning, attack, explain, metric, models
from surefoot.explain import Captum, IntegratedGradients
from surefoot.explain._captum_layers import find_layer, grid_of
from surefoot.gradients import query

pytest.importorskip("captum")


class Block(nn.Module):
    """One block of a transformer, as timm writes it."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Tokens (N, front + h w, D), the class token read at the end."""

    def __init__(self, front=1):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.front = nn.Parameter(torch.randn(1, front, 8))
        self.places = nn.Parameter(torch.randn(1, 15, 8))
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        tokens = torch.cat([self.front.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Swin(nn.Module):
    """Maps (N, h, w, C), all places averaged at the end."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mix, self.norm, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        here = self.patches(x).permute(0, 2, 3, 1)
        return self.head(self.norm(here + torch.tanh(self.mix(here))).mean((1, 2)))


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()
        )
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.pool(self.features(x)).flatten(1))


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.layout = "signal"
        self.net = nn.Sequential(nn.Conv1d(3, 6, 5, stride=2), nn.Tanh(), nn.Conv1d(6, 5, 3))
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.net(x)).mean(2))


def made(kind, **settings):
    torch.manual_seed(0)
    return kind(**settings).eval()


IMAGES = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(1))
GRID = (3, 5)


def test_grids():
    assert grid_of((1, 6, 5, 9), (12, 20)).axis == 1
    assert grid_of((1, 3, 5, 8), (12, 20)) == (GRID, -1, None)
    assert grid_of((1, 16, 8), (12, 20)) == (GRID, -1, 1)
    assert grid_of((1, 20, 8), (12, 20)) == (GRID, -1, 5)
    assert grid_of((1, 8, 1, 1), (12, 20)) is None
    assert grid_of((1, 8), (12, 20)) is None
    assert grid_of((1, 5, 8, 6), (12, 12, 12)) is None
    assert grid_of((1, 30, 8), (40,), last=True).size == (30,)
    assert grid_of((1, 8, 18), (40,)) == ((18,), 1, None)


@pytest.mark.parametrize(
    ("model", "inputs", "layer"),
    [
        (made(Convolutions), IMAGES, "features"),
        (made(Vit), IMAGES, "blocks.1.norm1"),
        (made(Vit, front=5), IMAGES, "blocks.1.norm1"),
        (made(Swin), IMAGES, "norm"),
        (made(Signal), torch.rand(2, 3, 40), "net"),
        (models.Classifier(made(Vit), mean=0.5, std=0.5).eval(), IMAGES, "module.blocks.1.norm1"),
    ],
    ids=["convolutions", "vit", "registers", "swin", "signal", "wrapped"],
)
def test_the_layer_is_found(model, inputs, layer):
    assert find_layer(query(model, inputs, 0)) == layer
    e = Captum("LayerGradCam")
    torch.testing.assert_close(
        e(model, inputs, 1), Captum("LayerGradCam", layer=layer)(model, inputs, 1)
    )
    # Each sample by itself, and not everywhere the same.
    torch.testing.assert_close(e(model, inputs, 1)[1:], e(model, inputs[1:], 1))
    assert e(model, inputs, 1).flatten(1).std(1).min() > 1e-5


def cam(model, module, images, target, places):
    """Grad-CAM by its definition, from a layer's output by hand."""
    kept = []
    handle = module.register_forward_hook(lambda _m, _a, output: kept.append(output))
    logits = model(images)
    handle.remove()
    (slope,) = torch.autograd.grad(logits[:, target].sum(), kept[0])
    here, slope = places(kept[0]), places(slope)
    return (slope.mean((2, 3), keepdim=True) * here).sum(1, keepdim=True).detach()


@pytest.mark.parametrize(
    ("model", "name", "places"),
    [
        (made(Vit), "blocks.1.norm1", lambda t: t[:, 1:].transpose(1, 2).unflatten(2, GRID)),
        (made(Swin), "norm", lambda t: t.permute(0, 3, 1, 2)),
        (made(Convolutions), "features.3", lambda t: t),
    ],
    ids=["vit", "swin", "convolutions"],
)
def test_grad_cam_of_a_layer_is_its_definition(model, name, places):
    wanted = cam(model, model.get_submodule(name), IMAGES, 2, places)
    wanted = F.interpolate(wanted, (12, 20), mode="bilinear").expand_as(IMAGES)
    found = Captum("LayerGradCam", layer=name)(model, IMAGES, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)
    assert not any(module._forward_hooks for module in model.modules())
    for method in ("LayerGradientXActivation", "GuidedGradCam", "LayerActivation"):
        if method == "GuidedGradCam" and name != "features.3":
            continue  # there is no ReLU to guide
        assert Captum(method, layer=name)(model, IMAGES, 2).shape == IMAGES.shape


def test_no_layer_has_places():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(720, 4)).eval()
    with pytest.raises(SurefootError, match="no layer of the model has places"):
        Captum("LayerGradCam")(flat, IMAGES, 0)
    with pytest.raises(SurefootError, match="needs the options"):
        Captum("NeuronGradient", neuron_selector=0)(made(Convolutions), IMAGES, 0)


def deep(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(4)).eval()


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_deep_lift_adds_up_or_says_that_it_does_not():
    together, apart = deep(nn.MaxPool2d(2), nn.ReLU()), deep(nn.ReLU(), nn.AvgPool2d(2))
    for model in (together, apart):
        model(IMAGES)
    wanted = (apart(IMAGES) - apart(IMAGES * 0))[:, 1].detach()
    found = Captum("DeepLift")(apart, IMAGES, 1)  # warnings are errors here
    torch.testing.assert_close(found.flatten(1).sum(1), wanted, rtol=1e-3, atol=1e-5)
    with pytest.warns(
        SurefootWarning, match=r"sums of DeepLift miss .* by up to \d+%.*max pooling"
    ):
        Captum("DeepLift")(together, IMAGES, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_hooks_outlive_no_interrupt(error):
    class Stops(nn.Module):
        def __init__(self):
            super().__init__()
            self.armed = False

        def forward(self, x):
            if self.armed and any(m._backward_hooks or m._forward_hooks for m in net.modules()):
                raise error("stop")
            return x

    stop = Stops()
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), stop, nn.Flatten(), nn.Linear(720, 4)).eval()
    before = [dict(vars(module)) for module in net.modules()]
    stop.armed = True
    for e in (Captum("GuidedBackprop"), Captum("DeepLift"), Captum("LayerGradCam", layer="0")):
        with pytest.raises(error, match="stop"):
            e(net, IMAGES, 0)
    stop.armed = False
    for module, held in zip(net.modules(), before, strict=True):
        assert not any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks))
        assert vars(module).keys() == held.keys()
    plain = explain.Gradient()(net, IMAGES, 0)
    assert not torch.allclose(plain, Captum("GuidedBackprop")(net, IMAGES, 0))
    torch.testing.assert_close(explain.Gradient()(net, IMAGES, 0), plain)


@pytest.mark.filterwarnings("ignore:layer '2' does not see all of the input")
def test_baselines_of_one_row_a_sample_follow_it():
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 4, 3, stride=2), nn.Softplus()),
        *(nn.Flatten(), nn.Linear(128, 3)),
    ).eval()
    x, y, b = IMAGES.repeat(2, 1, 1, 1), torch.tensor([0, 1, 2, 0]), torch.rand(4, 3, 12, 20)

    def kinds(b):
        ig = IntegratedGradients(steps=3, baseline=b)
        yield from (ig, explain.SmoothGrad(ig, samples=4), explain.Decoy(ig, layer="2", decoys=4))
        yield Captum("IntegratedGradients", baselines=b, n_steps=3)
        yield explain.SmoothGrad(
            Captum("FeatureAblation", baselines=b, feature_mask=mask), samples=4
        )

    mask = torch.arange(240).view(1, 1, 12, 20).expand(1, 3, 12, 20) // 60
    for number, whole in enumerate(kinds(b)):
        alone = [
            list(kinds(b[i : i + 1]))[number](net, x[i : i + 1], y[i : i + 1]) for i in range(4)
        ]
        torch.testing.assert_close(whole(net, x, y), torch.cat(alone), rtol=1e-4, atol=1e-6)
        order = torch.tensor([2, 0, 3, 1])
        moved = list(kinds(b[order]))[number](net, x[order], y[order])
        torch.testing.assert_close(moved, whole(net, x, y)[order], rtol=1e-4, atol=1e-6)
    with pytest.raises(SurefootError, match="one row for each of the 2 samples"):
        IntegratedGradients(baseline=torch.rand(3, 3, 12, 20))(net, IMAGES, 0)


def test_baselines_follow_their_sample_into_metrics_attacks_and_audits():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Softplus(), nn.Linear(9, 3)).eval()
    x, b = torch.rand(6, 1, 3, 4), torch.rand(6, 1, 3, 4)
    y = net(x).argmax(1)
    y[[1, 4]] = (y[[1, 4]] + 1) % 3  # two are wrong, which an audit leaves out
    right = torch.tensor([0, 2, 3, 5])
    e = IntegratedGradients(steps=4, baseline=b)

    def one(i):
        return IntegratedGradients(steps=4, baseline=b[i : i + 1])

    noise = 0.05 * torch.rand(3, 1, 3, 4)
    rows = [slice(i, i + 1) for i in range(6)]
    whole = metric.max_sensitivity(e, net, x, y, noise=noise)
    each = [
        metric.max_sensitivity(one(i), net, x[row], y[row], noise=noise)
        for i, row in enumerate(rows)
    ]
    torch.testing.assert_close(whole, torch.cat(each))
    a = attack.TopK(attack.Linf(0.05, steps=3), k=3)
    moved = a(net, x, y, e).inputs
    alone = [a(net, x[row], y[row], one(i)).inputs for i, row in enumerate(rows)]
    torch.testing.assert_close(moved, torch.cat(alone))
    pytest.importorskip("pyarrow")
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    audited = surefoot.audit(
        net, batches, explainers={"ig": e}, attacks={"topk": a}, metrics=["gini"]
    )
    frame = audited.frame()
    clean = frame[(frame["explainer"] == "ig") & (frame["attack"] == "clean")]
    found = torch.tensor(clean[clean["metric"] == "gini"]["value"].to_numpy()).double()
    maps = torch.cat([one(int(i))(net, x[rows[i]], y[rows[i]]) for i in right])
    torch.testing.assert_close(found, metric.gini(maps).double(), rtol=1e-5, atol=1e-6)
