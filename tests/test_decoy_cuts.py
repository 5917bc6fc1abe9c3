"""Which layers are cuts, by detaching them; what bypassed, partial and blind layers give."""

import pytest
import torch
from torch import nn

from surefoot import SurefootError, SurefootWarning
from surefoot.decoy import layers, make_decoys
from surefoot.explain import Decoy, Gradient


class Branches(nn.Module):
    """Two convolutions side by side, a skip, a squeeze-excite gate and a dense tail."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.left, self.right = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Sigmoid())
        self.join = nn.Conv2d(12, 6, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        a = self.relu(self.stem(x))
        left, right = self.left(a), self.right(a)
        both = torch.cat([left, right], 1)
        both = both * self.gate(both)
        a = a + self.join(both)
        return self.head(a.mean((2, 3)))


class Split(nn.Module):
    """A layer whose first result is half of what goes on."""

    class Halves(nn.Module):
        def forward(self, x):
            return x.chunk(2, 1)

    def __init__(self):
        super().__init__()
        self.stem, self.halves, self.head = nn.Conv2d(3, 4, 3), self.Halves(), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.cat(self.halves(self.stem(x)), 1).mean((2, 3)))


def transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.encoder = nn.Conv2d(3, 8, 4, 4), nn.TransformerEncoder(layer, 2)
            self.token, self.head = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 3)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).mT
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
            return self.head(self.encoder(tokens)[:, 0])

    return Net()


def leaks(net, names, x):
    """Whether the logits still have a gradient in the input once these layers are detached."""

    def detach(_m, _a, out):
        return out.detach() if isinstance(out, torch.Tensor) else (out[0].detach(), *out[1:])

    handles = [net.get_submodule(name).register_forward_hook(detach) for name in names]
    x = x.clone().requires_grad_()
    out = net(x)
    for handle in handles:
        handle.remove()
    if not out.requires_grad:
        return False
    (slope,) = torch.autograd.grad(out.sum(), x, allow_unused=True)
    return slope is not None and bool(slope.any())


@pytest.mark.parametrize("make", [Branches, Split, transformer])
def test_cuts_are_what_leaves_no_gradient_when_detached(make):
    torch.manual_seed(0)
    net, x = make().eval(), torch.rand(1, 3, 16, 16)
    rows = layers(net, x)
    assert {row.cut for row in rows} == {True, False}
    for row in rows:
        assert row.cut == (not leaks(net, [row.name], x)), row.name


def test_default_is_a_cut():
    torch.manual_seed(0)
    for make in (transformer, Split):
        net, x = make().eval(), torch.rand(1, 3, 16, 16)
        d = make_decoys(net, x, effort="fast")
        assert d.cut
        assert not leaks(net, [d.layer], x)
        assert d.coverage == 1


class Two(nn.Module):
    """Two stems that only together are a cut."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 2, 5, 2, 2)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        both = torch.cat([torch.tanh(self.left(x)), torch.tanh(self.right(x))], 1)
        return self.head(both.mean((2, 3)))


def test_several_layers_are_one_representation():
    torch.manual_seed(0)
    net, x = Two().eval(), torch.rand(1, 3, 12, 12)
    with pytest.warns(SurefootWarning, match=r"layer 'left' is no cut"):
        alone = make_decoys(net, x, layer="left", effort="fast")
    assert not alone.cut
    assert "not a cut" in repr(alone)
    d = make_decoys(net, x, layer=("left", net.right), effort="fast")
    assert d.layer == ("left", "right")
    assert d.cut
    assert d.moved.all()
    with torch.no_grad():
        rows = torch.cat([x, d.inputs[0]])
        both = torch.cat([net.left(rows).flatten(1), net.right(rows).flatten(1)], 1)
    deviation = (both[1:] - both[0]).abs().amax(1) / both[0].square().mean().sqrt()
    torch.testing.assert_close(deviation, d.deviation[0], rtol=1e-3, atol=1e-5)
    assert (deviation <= d.epsilon * (1 + 1e-4)).all()


def test_without_a_cut_the_way_out_is_named():
    with pytest.raises(SurefootError, match=r'layer=\("a", "b"\)'):
        make_decoys(Two().eval(), torch.rand(1, 3, 12, 12))


class Corner(nn.Module):
    def forward(self, x):
        return torch.tanh(x[:, :, :6, :6])


class Prior(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.rand(1, 5))

    def forward(self, x):
        return self.value.expand(len(x), -1)


class Odd(nn.Module):
    """Layers that an adversary would name."""

    def __init__(self):
        super().__init__()
        self.corner, self.prior, self.pick = Corner(), Prior(), nn.Conv2d(3, 2, 1, 2)
        self.head = nn.Linear(2, 5)

    def forward(self, x):
        return self.head(self.pick(x).mean((2, 3))) * self.prior(x) + self.corner(x).mean()


def test_layers_that_see_nothing_are_refused():
    net, x = Odd().eval(), torch.rand(1, 3, 12, 12)
    assert "prior" not in {row.name for row in layers(net, x)}
    with pytest.raises(SurefootError, match="does not see the input"):
        make_decoys(net, x, layer="prior")


@pytest.mark.parametrize(("layer", "seen"), [("corner", 0.25), ("pick", 0.25)])
def test_what_a_layer_does_not_see_does_not_move(layer, seen):
    torch.manual_seed(0)
    net, x = Odd().eval(), torch.rand(1, 3, 12, 12)
    with pytest.warns(SurefootWarning) as told:
        d = make_decoys(net, x, layer=layer, effort="fast")
    assert any("decoys cover 25% of it" in str(w.message) for w in told)
    assert d.coverage == seen
    moved = (d.inputs != x[:, None]).any(1).any(1)[0]
    assert not (moved & ~d.masks.any(0)).any()
    unseen = x.clone()
    unseen[:, :, d.masks.any(0)] = 0.5
    with torch.no_grad():
        blind = x.clone()
        blind[:, :, ~d.masks.any(0)] = 0
        assert torch.equal(net.get_submodule(layer)(blind), net.get_submodule(layer)(x))


def test_explanations_say_what_the_layer_is():
    torch.manual_seed(0)
    net, x = Two().eval(), torch.rand(2, 3, 12, 12)
    e = Decoy(Gradient(), layer=("left", "right"), effort="fast")
    details = e.explain(net, x).details
    assert bool(details["cut"])
    assert not bool(details["layer_by_default"])
    assert details["covered"].shape == (2, 12, 12)
    assert details["covered"].all()
    assert float(details["coverage"]) == 1
