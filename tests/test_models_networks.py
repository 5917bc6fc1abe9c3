"""The reference networks: by name, against the sources' formulas, and twice differentiable."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from surefoot import data, explain, models
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.models import _resnet, _vgg

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NEEDED = {"text-cnn": {"vocabulary": 20}, "mlp": {"features": 6}}
CHANNELS = {"rar-cnn": (1, 28), "sgt-cnn": (1, 28)}


def inputs_of(name, samples=2):
    generator = torch.Generator().manual_seed(0)
    if name == "text-cnn":
        return torch.randint(1, 20, (samples, 7), generator=generator)
    if name == "mlp":
        return torch.rand(samples, 6, generator=generator)
    channels, side = CHANNELS.get(name, (3, 32))
    return torch.rand(samples, channels, side, side, generator=generator)


def network(name, **settings):
    return models.build(name, seed=0, **NEEDED.get(name, {}), **settings)


@pytest.mark.parametrize("name", models.names())
def test_every_name_gives_logits_and_the_seed_the_weights(name):
    before = torch.get_rng_state()
    net, again = network(name, classes=7), network(name, classes=7)
    assert torch.equal(before, torch.get_rng_state())
    assert net.training
    assert net.eval()(inputs_of(name)).shape == (2, 7)
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(set(models.names()) - {"mlp", "text-cnn"}))
def test_other_channels(name):
    _, side = CHANNELS.get(name, (3, 32))
    net = network(name, channels=2).eval()
    assert net(torch.rand(1, 2, side, side)).shape[0] == 1


@pytest.mark.parametrize("name", models.names())
def test_logits_do_not_depend_on_the_batch(name):
    net, inputs = network(name).double().eval(), inputs_of(name, 3)
    inputs = inputs if name == "text-cnn" else inputs.double()
    with torch.no_grad():
        torch.testing.assert_close(net(inputs)[1:2], net(inputs[1:2]))


@pytest.mark.parametrize("name", sorted(set(models.names()) - {"resnet56"}))
def test_second_derivatives_are_those_of_finite_differences(name):
    net = network(name).double().eval()
    model = models.Classifier(net, embedding="embedding") if name == "text-cnn" else net
    inputs = inputs_of(name, 1)
    inputs = model.embed(inputs) if name == "text-cnn" else inputs.double()
    generator = torch.Generator().manual_seed(1)
    direction, other = (torch.randn(inputs.shape, generator=generator).double() for _ in range(2))

    def slope(at):  # of the log-probability, whose second derivative is not 0 in a ReLU net
        (gradient,) = torch.autograd.grad(model(at).log_softmax(1)[0, 1], at, create_graph=True)
        return (gradient * other).sum()

    point = inputs.clone().requires_grad_(True)
    (second,) = torch.autograd.grad(slope(point), point)
    step = 1e-7  # small enough that no ReLU changes sides
    ends = [slope((inputs + s * step * direction).requires_grad_(True)).item() for s in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert (second * direction).sum().item() == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert abs(expected) > 1e-6


@pytest.mark.parametrize("name", models.names())
def test_nothing_works_in_place_and_no_activation_is_used_twice(name):
    net, calls = network(name).eval(), {}
    activations = [m for m in net.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    assert activations
    for module in activations:
        assert not module.inplace
        module.register_forward_hook(
            lambda m, *_: calls.__setitem__(id(m), calls.get(id(m), 0) + 1)
        )
    net(inputs_of(name))
    assert [calls.get(id(module)) for module in activations] == [1] * len(activations)


@pytest.mark.parametrize(
    ("name", "millions"),
    # He et al., table 6, for the two of CIFAR-10; torchvision's count less its larger first
    # and last layers for the others.
    [("resnet20", 0.27), ("resnet56", 0.85), ("resnet18-small", 11.17), ("vgg16-small", 14.72)],
)
def test_the_published_sizes(name, millions):
    count = sum(p.numel() for p in network(name).parameters())
    assert round(count / 1e6, 2) == millions


def test_rar_cnn_is_its_formula():
    net = network("rar-cnn").eval()
    x, state = inputs_of("rar-cnn"), net.state_dict()
    for layer in ("conv1", "conv2"):
        x = functional.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=2)
        x = functional.max_pool2d(x.clamp(min=0), 2)
    hidden = (x.flatten(1) @ state["fc1.weight"].T + state["fc1.bias"]).clamp(min=0)
    torch.testing.assert_close(net(inputs_of("rar-cnn")), net.fc2(hidden))
    assert [tuple(state[f"{n}.weight"].shape) for n in ("conv1", "conv2", "fc1", "fc2")] == [
        (32, 1, 5, 5),
        (64, 32, 5, 5),
        (1024, 3136),
        (10, 1024),
    ]


def test_rar_cnn_starts_as_published():
    net = network("rar-cnn")
    weight = net.fc1.weight.detach()
    assert weight.abs().max() <= 0.2
    # A normal distribution cut off at two deviations has 0.8796 of the deviation.
    assert weight.std().item() == pytest.approx(0.08796, rel=5e-3)
    assert all((m.bias == 0.1).all() for m in (net.conv1, net.conv2, net.fc1, net.fc2))


def test_rar_cnn_pools_odd_sides_as_same_does():
    assert network("rar-cnn", size=29)(torch.rand(1, 1, 29, 29)).shape == (1, 10)


def naive_same(x, weight, stride):
    """TensorFlow's SAME convolution, by its definition, one place at a time."""
    n, _, height, width = x.shape
    high, wide = math.ceil(height / stride), math.ceil(width / stride)
    total = [max((o - 1) * stride + 3 - s, 0) for o, s in ((high, height), (wide, width))]
    padded = torch.zeros(n, x.shape[1], height + total[0], width + total[1])
    top, left = total[0] // 2, total[1] // 2
    padded[:, :, top : top + height, left : left + width] = x
    out = torch.zeros(n, len(weight), high, wide)
    for i in range(high):
        for j in range(wide):
            window = padded[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
            out[:, :, i, j] = torch.einsum("nchw,ochw->no", window, weight)
    return out


def naive_unit(unit, x, stride, shared):
    act = lambda v: torch.where(v > 0, v, 0.1 * v)  # noqa: E731
    active = act(x)
    inner = naive_same(active, unit.conv1.weight, stride)
    inner = naive_same(act(inner), unit.conv2.weight, 1)
    shortcut = active if shared else x
    if stride == 2:
        corners = [shortcut[:, :, a::2, b::2] for a in (0, 1) for b in (0, 1)]
        mean, zeros = sum(corners) / 4, torch.zeros_like(inner[:, : shortcut.shape[1] // 2])
        shortcut = torch.cat([zeros, mean, zeros], 1)
    return inner + shortcut


@torch.no_grad()
def test_rar_resnet_is_its_formula():
    net = network("rar-resnet", units=2, classes=4).eval()
    images = IMAGES[..., :12, :16]
    pixels = (255 * images).flatten(1)
    x = (pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, correction=0, keepdim=True)
    x = naive_same(x.view_as(images), net.conv.weight, 1)
    for stage, stride in ((net.stage1, 1), (net.stage2, 2), (net.stage3, 2)):
        x = naive_unit(stage[0], x, stride, shared=stride == 1)
        x = naive_unit(stage[1], x, 1, shared=False)
    x = torch.where(x > 0, x, 0.1 * x).mean((2, 3))
    torch.testing.assert_close(net(images), x @ net.fc.weight.T, atol=1e-5, rtol=1e-4)


def test_rar_resnet_starts_as_published():
    net = network("rar-resnet", units=1)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 1 + 3 * 2
    assert all(m.bias is None for m in convolutions)
    last = net.stage3[0].conv2.weight
    assert last.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert 0.9 < net.fc.weight.abs().max() / math.sqrt(3 / 64) <= 1
    assert not net.fc.bias.any()


def test_standardised_images_make_integrated_gradients_the_input_times_the_gradient():
    # f(a x) = f(x) for a > 0, so the gradient at x k / m is m / k of that at x, and the mean over
    # k = 1..m is H_m of it.
    net = network("rar-resnet").double().eval()
    images = IMAGES[:, :, :8, :8].double() * 0.5 + 0.25
    target = torch.tensor([1, 2])
    gradient = explain.Gradient()(net, images, target)
    points = [explain.Gradient()(net, images * k / 4, target) for k in (1, 2, 3, 4)]
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    torch.testing.assert_close(sum(points) / 4, harmonic * gradient)


def test_flat_images_have_finite_derivatives():
    images = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    out = network("rar-resnet").eval()(images)
    (gradient,) = torch.autograd.grad(out[0, 0], images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(second).all()


@torch.no_grad()
def test_option_a_shortcuts_skip_pixels_and_pad_channels():
    x = torch.rand(1, 4, 6, 6)
    result = _resnet.Subsample(2, 4)(x)
    assert torch.equal(result[:, 2:6], x[:, :, ::2, ::2])
    assert not result[:, [0, 1, 6, 7]].any()
    block = _resnet.Block(4, 8, 2, project=False).eval()
    for convolution in (block.conv1, block.conv2):
        convolution.weight.zero_()
    assert torch.equal(block(x), result)


def test_resnets_carry_the_names_of_published_checkpoints():
    keys = set(network("resnet20").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer3.2.bn2.bias", "linear.bias"} <= keys
    assert not [key for key in keys if "shortcut" in key]
    assert "layer2.0.shortcut.0.weight" in network("resnet18-small").state_dict()


def test_old_checkpoints_without_batch_counts_load(tmp_path):
    net = network("resnet20")
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pt")
    loaded = models.load("resnet20", weights=tmp_path / "w.pt")
    assert torch.equal(loaded(IMAGES), net.eval()(IMAGES))


def test_vgg_has_the_papers_depth():
    for net, depth in ((_vgg.vgg11(), 11), (_vgg.vgg16(), 16)):
        convolutions = [m for m in net.features if isinstance(m, nn.Conv2d)]
        # The paper's three dense layers are one here.
        assert len(convolutions) == depth - 3


@torch.no_grad()
def test_text_cnn_is_its_formula():
    net = network("text-cnn", dimension=6, filters=4).eval()
    tokens = inputs_of("text-cnn")
    words = net.embedding.weight[tokens]
    pooled = []
    for width, convolution in zip((3, 4, 5), net.convolutions, strict=True):
        edge = torch.zeros(2, width - 1, 6)
        padded = torch.cat([edge, words, edge], 1)
        weight, bias = convolution[0].weight, convolution[0].bias
        windows = [padded[:, t : t + width] for t in range(padded.shape[1] - width + 1)]
        scores = [torch.einsum("ntd,odt->no", w, weight) + bias for w in windows]
        pooled.append(torch.stack(scores).clamp(min=0).amax(0))
    torch.testing.assert_close(net(tokens), net.fc(torch.cat(pooled, 1)))


def test_text_cnn_ignores_how_far_a_sentence_is_padded():
    net = network("text-cnn").eval()
    tokens = torch.tensor([[5, 3, 9]])
    padded = functional.pad(tokens, (0, 6))
    assert not net.embedding(torch.tensor([0])).any()
    more = functional.pad(tokens, (0, 12))
    torch.testing.assert_close(net(padded), net(more))


def test_text_cnn_is_explained_through_its_embedding():
    net = network("text-cnn", classes=3).eval()
    model, tokens = models.Classifier(net, embedding="embedding"), inputs_of("text-cnn")
    embedded = model.embed(tokens)
    torch.testing.assert_close(model(embedded), net(tokens))
    explanation = explain.Gradient().explain(model, embedded)
    assert explanation.layout == "tokens"
    assert explanation.heatmap().shape == tokens.shape
    assert explain.reduce(explanation.attributions, "sum_abs", "tokens").shape == tokens.shape
    assert explanation.attributions.any()


def test_the_networks_learn():
    # A rule that a linear read-out of raw pixels finds, too: the brighter half.
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    labels = (images[..., :14].mean((1, 2, 3)) > images[..., 14:].mean((1, 2, 3))).long()
    images[labels == 1, :, :, :14] += 0.3
    net = models.build("rar-cnn", seed=0, classes=2, widths=(4, 8), hidden=16)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(30):
        loss = functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (net(images).argmax(1) == labels).float().mean() > 0.9


def test_loading_says_that_a_network_is_untrained(tmp_path):
    with pytest.warns(SurefootWarning, match="rar-cnn is untrained: its weights are random"):
        model = models.load("rar-cnn", classes=4, channels=3, size=32)
    assert not any(module.training for module in model.modules())
    assert model(IMAGES).shape == (2, 4)
    assert models.card(model) == models.Card("rar-cnn", 32, None, 3)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    loaded = models.load("rar-cnn", weights=tmp_path / "w.pt", classes=4, channels=3, size=32)
    assert torch.equal(loaded(IMAGES), model(IMAGES))
    assert models.card(models.load("resnet20", weights=save_new("resnet20", tmp_path))).size == 32


def save_new(name, folder):
    torch.save(network(name).state_dict(), folder / "new.pt")
    return folder / "new.pt"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rar-cn", {}, "'rar-cn' is unknown; did you mean rar-cnn"),
        ("rar-cnn", {"width": 3}, "rar-cnn has no setting 'width'; did you mean widths"),
        ("text-cnn", {}, "text-cnn needs vocabulary="),
        ("mlp", {}, "mlp needs features="),
        ("mlp", {"features": 0}, "features=0, expected a positive integer"),
        ("resnet20", {"classes": 2.5}, "classes=2.5, expected a positive integer"),
        ("mlp", {"features": 3, "hidden": (4, -1)}, "cannot make mlp with"),
        ("rar-cnn", {"widths": 3}, "cannot make rar-cnn with .*widths"),
    ],
)
def test_settings_that_no_network_has(name, settings, message):
    with pytest.raises(SurefootError, match=message):
        models.build(name, **settings)


def test_settings_of_reference_networks_are_for_them_alone():
    with pytest.raises(SurefootError, match=r"channels= is for reference networks \(.*rar-cnn"):
        models.load("efficientnet-lite0", channels=1)
    with pytest.raises(SurefootError, match="did you mean rar-cnn"):
        models.load("rar-cn")


def test_new_timm_networks_have_their_normalisation():
    pytest.importorskip("timm")
    model = models.build("timm:test_resnet", seed=0, classes=4)
    assert model.training
    assert isinstance(model, models.Classifier)
    assert model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    with pytest.raises(SurefootError, match="timm:test_resnet has no setting 'channels'"):
        models.build("timm:test_resnet", channels=1)


def test_vocabularies_fit_the_text_network():
    assert models.TextCNN(5).embedding.padding_idx == data.PADDING
