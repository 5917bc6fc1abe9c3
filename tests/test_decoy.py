"""Decoys: what the certificate promises, on the architectures people use."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d, relu

from surefoot import SurefootError, SurefootWarning
from surefoot.decoy import layers, make_decoys


class Residual(nn.Module):
    """A ResNet block with one ReLU module used twice, in place."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Functional(nn.Module):
    """A VGG-like net with functional ReLU and a `.view`, which refuses channels-last maps."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 4)

    def forward(self, x):
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.head(x.contiguous().view(len(x), -1) if not self.training else x)


class Squeeze(nn.Module):
    """Squeeze-excite: every output depends on every input."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        tokens = self.norm(self.embed(x).flatten(2).mT)
        return self.head((tokens + self.attention(tokens, tokens, tokens)[0]).mean(1))


def head(width):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)]


def resnet():
    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, Residual(8), *head(8))


def efficientnet():
    depthwise = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
    inner = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU6(inplace=True), depthwise, nn.ReLU6(inplace=True)]
    return nn.Sequential(*inner, nn.Conv2d(16, 8, 1), *head(8))


def squeeze_excite():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Squeeze(8), *head(8))


ARCHITECTURES = {
    "resnet, in place": (resnet, "2"),
    "resnet, shared module": (resnet, "3.relu"),
    "resnet, block": (resnet, "3"),
    "efficientnet": (efficientnet, "4"),
    "functional ReLU": (Functional, "conv2"),
    "squeeze-excite": (squeeze_excite, "1"),
    "attention": (Transformer, "attention"),
    "patch embedding": (Transformer, "embed"),
}


@pytest.fixture(params=ARCHITECTURES, ids=str, scope="module")
def made(request):
    torch.manual_seed(0)
    factory, layer = ARCHITECTURES[request.param]
    net, images = factory().eval(), torch.rand(2, 3, 32, 32)
    cut = {row.name: row.cut for row in layers(net, images)}[layer]
    with nullcontext() if cut else pytest.warns(SurefootWarning, match="is no cut"):
        found = make_decoys(net, images, layer=layer, decoys=6, stride=7, effort="fast")
    return net, images, found


def activation(net, layer, rows):
    kept = []
    handle = net.get_submodule(layer).register_forward_hook(
        lambda _m, _a, out: kept.append(out[0] if isinstance(out, tuple) else out.clone())
    )
    with torch.no_grad():
        net(rows)
    handle.remove()
    return kept[0].flatten(1)


def test_decoys_keep_mask_box_and_layer(made):
    net, images, d = made
    samples, count = d.deviation.shape
    assert d.inputs.shape == (2, count, 3, 32, 32)
    assert d.masks.shape == (count, 32, 32)
    assert count <= 6
    off = ~d.masks[None, :, None].expand_as(d.inputs)
    originals = images[:, None].expand_as(d.inputs)
    assert torch.equal(d.inputs[off], originals[off])
    assert 0 <= d.inputs.min() <= d.inputs.max() <= 1
    assert d.sign.tolist() == [1, -1] * (count // 2)
    for batch in (1, 5, samples * count):
        rows = d.inputs.flatten(0, 1).split(batch)
        found = torch.cat([activation(net, d.layer, some) for some in rows])
        clean = activation(net, d.layer, images).repeat_interleave(count, 0)
        scale = clean.square().mean(1).sqrt()
        deviation = ((found - clean).abs().amax(1) / scale).view(samples, count)
        assert (deviation <= d.epsilon * (1 + 1e-4)).all()
    torch.testing.assert_close(deviation, d.deviation, rtol=1e-3, atol=1e-5)


def test_decoys_move_and_swing_is_what_it_says(made):
    _, images, d = made
    change = d.inputs - images[:, None]
    assert torch.equal(d.moved, (change != 0).flatten(2).any(2))
    assert d.moved.float().mean() >= 0.95
    sign = d.sign.view(1, -1, 1, 1, 1)
    gone = (sign * change).clamp_min(0).flatten(2).sum(2)
    room = torch.where(sign > 0, 1 - images[:, None], images[:, None])
    total = (room * d.masks[None, :, None]).flatten(2).sum(2)
    torch.testing.assert_close(d.swing, gone / total)
    assert (d.swing[d.moved] > 0).all()


def test_global_layers_are_solved_jointly_and_say_so():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 32, 32)
    joint = make_decoys(squeeze_excite().eval(), images, layer="1", decoys=2)
    apart = make_decoys(squeeze_excite().eval(), images, layer="0", effort="fast")
    assert (joint.joint, apart.joint) == (True, False)
    assert "jointly" in repr(joint)


def test_patches_of_a_mask_do_not_meet_at_the_layer():
    torch.manual_seed(0)
    net, images = resnet().eval(), torch.rand(1, 3, 32, 32)
    d = make_decoys(net, images, layer="3", effort="fast")
    assert not d.joint
    clean = activation(net, "3", images)
    reached = torch.zeros_like(clean, dtype=torch.bool)
    for row, column in d.corners[0].tolist():
        one = images.clone()
        one[..., row : row + 3, column : column + 3] = torch.nan
        hit = activation(net, "3", one).isnan()
        assert not (hit & reached).any()
        reached |= hit


def test_decoys_are_the_same_alone_in_a_batch_and_again():
    torch.manual_seed(0)
    net, images = efficientnet().eval(), torch.rand(2, 3, 32, 32)
    together = make_decoys(net, images, layer="4", decoys=4)
    again = make_decoys(net, images, layer="4", decoys=4)
    alone = make_decoys(net, images[1:], layer=net[4], decoys=4)
    assert torch.equal(together.inputs, again.inputs)
    assert torch.equal(together.inputs[1:], alone.inputs)


def test_full_cover_where_packing_allows():
    torch.manual_seed(0)
    net, images = efficientnet().eval(), torch.rand(1, 3, 32, 32)
    d = make_decoys(net, images, layer="4", effort="fast")
    assert d.coverage == 1.0
    assert len(d.sign) <= 64
    dense = make_decoys(net, images, layer="4", decoys=8, effort="fast")
    assert len(dense.sign) <= 8
    assert dense.joint
    assert dense.coverage == dense.masks.any(0).float().mean() == 1
    sparse = make_decoys(net, images, layer="4", stride=9, effort="fast")
    assert sparse.coverage == sparse.masks.any(0).float().mean()
    assert sparse.coverage < 0.2


def test_cap_bounds_each_change():
    torch.manual_seed(0)
    net, images = efficientnet().eval(), torch.rand(1, 3, 32, 32)
    d = make_decoys(net, images, layer="4", decoys=2, cap=0.01, epsilon=1.0)
    assert 0.009 < (d.inputs - images[:, None]).abs().max() <= 0.01 + 1e-6


def test_no_room_means_no_movement():
    torch.manual_seed(1)  # 0 gives a layer that is dead at the input
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    white = torch.ones(1, 4)
    d = make_decoys(net, white, layer="1", patch=4, units="absolute", bounds=(1, 1))
    assert torch.equal(d.inputs, white[:, None].expand_as(d.inputs))
    assert not d.moved.any()
    assert (d.swing == 0).all()


def test_bounds_may_differ_by_feature():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, 2)).eval()
    low, high = torch.tensor([0.0, -1, -2, 0, 0, 5]), torch.tensor([1.0, 1, 2, 9, 1, 6])
    records = (low + high)[None] / 2
    d = make_decoys(net, records, layer="1", patch=6, bounds=(low, high))
    assert (d.inputs >= low).all()
    assert (d.inputs <= high).all()
    assert d.moved.all()


def test_embedded_tokens_with_a_mask_as_extra_input():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Conv1d(6, 5, 3, padding=1)
            self.head = nn.Linear(5, 2)

        def forward(self, x, mask):
            return self.head((torch.tanh(self.mix(x.mT)) * mask[:, None]).mean(2))

    torch.manual_seed(0)
    sentence, mask = torch.rand(2, 7, 6), torch.ones(2, 7)
    d = make_decoys(
        Text().eval(), sentence, layer="mix", patch=1, extra={"mask": mask}, layout="tokens"
    )
    assert d.masks.shape == (14, 7)
    assert d.masks.sum(1).tolist() == [1] * 14
    assert d.moved.all()


def test_float64_and_effort():
    torch.manual_seed(0)
    net = efficientnet().double().eval()
    images = torch.rand(1, 3, 32, 32).double()
    fast = make_decoys(net, images, layer="4", decoys=32, effort="fast")
    thorough = make_decoys(net, images, layer="4", decoys=32, effort="thorough")
    assert fast.inputs.dtype == torch.float64
    assert thorough.swing.mean() > 1.05 * fast.swing.mean()


def test_first_order_solver_agrees_on_what_is_possible(monkeypatch):
    """Forced on a small problem, the joint solver finds most of what programmes find."""
    torch.manual_seed(0)
    net, images = efficientnet().eval(), torch.rand(1, 3, 32, 32)
    best = make_decoys(net, images, layer="4", decoys=32, effort="thorough")
    monkeypatch.setattr("surefoot.decoy._search._COLUMNS", 1)
    first_order = make_decoys(net, images, layer="4", decoys=32)
    assert (first_order.deviation <= first_order.epsilon).all()
    assert first_order.swing.mean() > 0.6 * best.swing.mean()


def test_first_order_solver_on_a_layer_that_feels_every_change(monkeypatch):
    """Ten times as many outputs as inputs hold the patches: steps have to be small."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 100, 4)
    ).eval()
    images = torch.rand(1, 3, 10, 10)
    settings = {"layer": "1", "decoys": 8, "epsilon": 0.03, "effort": "thorough"}
    best = make_decoys(net, images, **settings)
    monkeypatch.setattr("surefoot.decoy._search._COLUMNS", 1)
    first_order = make_decoys(net, images, **settings)
    assert (first_order.deviation <= first_order.epsilon).all()
    assert first_order.moved.all()
    assert first_order.swing.mean() > 0.75 * best.swing.mean()


def test_default_layer_is_the_deepest_that_covers_the_input():
    torch.manual_seed(0)
    net, images = efficientnet().eval(), torch.rand(1, 3, 32, 32)
    d = make_decoys(net, images, effort="fast")
    rows = {row.name: row for row in layers(net, images)}
    assert rows[d.layer].ratio < 1
    assert d.coverage == 1


def test_layers_names_shapes_and_reach():
    torch.manual_seed(0)
    rows = {row.name: row for row in layers(efficientnet().eval(), torch.rand(1, 3, 32, 32))}
    assert rows["0"].shape == (16, 16, 16)
    assert rows["0"].ratio == 16 * 256 / 3072
    assert rows["0"].spacing == 3
    assert rows["6"].spacing is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "bloks"}, "did you mean"),
        ({"layer": nn.ReLU()}, "not a submodule"),
        ({"layer": "4", "patch": 33}, "patch=33 does not fit"),
        ({"layer": "4", "patch": 0}, "patch=0"),
        ({"layer": "4", "stride": 0}, "stride=0"),
        ({"layer": "4", "decoys": 1}, "at least 2"),
        ({"layer": "4", "epsilon": 0.0}, "epsilon=0.0"),
        ({"layer": "4", "units": "percent"}, "units='percent'"),
        ({"layer": "4", "effort": "huge"}, "effort='huge'"),
        ({"layer": "4", "bounds": (0, 0.5)}, "leave bounds"),
        ({"layer": "4", "bounds": (1, 0)}, "not ordered"),
        ({"layer": "4", "cap": -1.0}, "cap=-1.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    torch.manual_seed(0)
    with pytest.raises(SurefootError, match=message):
        make_decoys(efficientnet().eval(), torch.rand(1, 3, 32, 32), **settings)


def test_training_mode_and_unused_layers_are_refused():
    net = efficientnet()
    with pytest.raises(SurefootError, match="training mode"):
        make_decoys(net, torch.rand(1, 3, 32, 32), layer="4")
    net.spare = nn.Identity()
    net.forward = lambda x: nn.functional.linear(x.flatten(1), torch.ones(2, 3072))
    with pytest.raises(SurefootError, match="not run by"):
        make_decoys(net.eval(), torch.rand(1, 3, 32, 32), layer="spare")


def test_dead_layer_has_no_rms():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    nn.init.zeros_(net[0].weight)
    nn.init.constant_(net[0].bias, -1.0)
    with pytest.raises(SurefootError, match="zero everywhere"):
        make_decoys(net, torch.rand(1, 4), layer="1")


def test_model_is_left_as_it_was():
    torch.manual_seed(0)
    net, images = resnet().eval(), torch.rand(1, 3, 32, 32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state, copy = torch.get_rng_state(), images.clone()
    make_decoys(net, images, layer="2", decoys=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, copy)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
