"""Decoys of every kind of input, in every precision, from several threads, and their progress."""

import threading

import pytest
import torch
from torch import nn

from surefoot import models
from surefoot.decoy import make_decoys
from surefoot.explain import Decoy, Gradient


def signal():
    inner = [nn.Conv1d(2, 4, 5, 2, 2), nn.ReLU(), nn.Conv1d(4, 3, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*inner, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2))


def volume():
    inner = [nn.Conv3d(1, 3, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*inner, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.mix(x)).mean(1))


def record():
    return nn.Sequential(nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 2))


KINDS = {
    "signal": (signal, (2, 2, 40), (40,)),
    "volume": (volume, (2, 1, 8, 9, 10), (8, 9, 10)),
    "tokens": (Tokens, (2, 7, 6), (7,)),
    "record": (record, (2, 9), (9,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_has_patches_of_its_shape(kind):
    torch.manual_seed(0)
    make, shape, places = KINDS[kind]
    net = models.Classifier(make().eval(), layout=kind)
    x = torch.rand(shape)
    d = make_decoys(net, x, patch=2, effort="fast")
    assert d.masks.shape[1:] == places
    assert d.coverage == 1
    assert d.cut
    assert d.moved.float().mean() > 0.9
    channel = {"signal": 2, "volume": 2, "tokens": 3}.get(kind)
    moved = d.inputs != x[:, None]
    moved = moved if channel is None else moved.any(channel)
    assert not (moved & ~d.masks).any()
    a = Decoy(Gradient("probability"), patch=2, effort="fast")(net, x)
    assert a.shape == x.shape
    assert a.flatten(1).any(1).all()


def images():
    torch.manual_seed(0)
    inner = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    net = nn.Sequential(*inner, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    nn.init.uniform_(net[1].running_mean, -0.2, 0.2)
    nn.init.uniform_(net[1].running_var, 0.5, 2)
    return net, torch.rand(1, 3, 18, 18)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_every_precision(dtype):
    net, x = images()
    net, x = net.to(dtype), x.to(dtype)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    d = make_decoys(net, x, layer="2", effort="fast")
    assert d.inputs.dtype == dtype
    assert d.moved.all()
    assert 0 <= d.inputs.min() <= d.inputs.max() <= 1
    with torch.no_grad():
        rows = torch.cat([x, d.inputs[0]])
        out = torch.cat([net[:3](row[None]) for row in rows]).flatten(1).double()
    deviation = (out[1:] - out[0]).abs().amax(1) / out[0].square().mean().sqrt()
    assert (deviation <= d.epsilon * (1 + 1e-4)).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_autocast_and_channels_last():
    net, x = images()
    plain = make_decoys(net, x, layer="2", effort="fast")
    with torch.autocast("cpu", torch.bfloat16):
        cast = make_decoys(net, x, layer="2", effort="fast")
    assert cast.moved.all()
    assert (cast.deviation <= cast.epsilon).all()
    last = make_decoys(
        net.to(memory_format=torch.channels_last),
        x.to(memory_format=torch.channels_last),
        layer="2",
        effort="fast",
    )
    torch.testing.assert_close(last.swing, plain.swing, rtol=0.02, atol=1e-3)


def test_threads_do_not_disturb_each_other():
    net, x = images()
    alone = make_decoys(net, x, layer="2", effort="fast")
    stop, logits = threading.Event(), net(x)
    wrong = []

    def other():
        while not stop.is_set():
            with torch.no_grad():
                if not torch.equal(net(x), logits):
                    wrong.append(True)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        beside = [make_decoys(net, x, layer="2", effort="fast") for _ in range(3)]
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert all(torch.equal(d.inputs, alone.inputs) for d in beside)


def test_progress_counts_decoys():
    net, x = images()
    told = []
    d = make_decoys(net, x.repeat(2, 1, 1, 1), progress=lambda *now: told.append(now))
    assert told[-1] == (d.deviation.numel(), d.deviation.numel())
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    again = []
    Decoy(Gradient(), progress=lambda *now: again.append(now)).explain(net, x)
    assert again[-1] == (d.deviation.shape[1],) * 2


def test_the_certificate_is_that_of_the_model_with_its_batch_norm():
    net, x = images()
    d = make_decoys(net, x, effort="fast")
    rows = torch.cat([x, d.inputs[0]])
    with torch.no_grad():
        out = net[: int(d.layer) + 1](rows).flatten(1)
    deviation = (out[1:] - out[0]).abs().amax(1) / out[0].square().mean().sqrt()
    torch.testing.assert_close(deviation, d.deviation[0], rtol=1e-3, atol=1e-5)
    assert (deviation <= d.epsilon * (1 + 1e-4)).all()
