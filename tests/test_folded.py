"""Batch norm folded into what comes before it: the same outputs and gradients, or a refusal."""

import pytest
import torch
from torch import nn

from surefoot import SurefootError, models
from surefoot.explain import Gradient


def stirred(net):
    """The network with batch norms that do something."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.3, 3)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return net.double().eval()


def plain():
    inner = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    grouped = [nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False), nn.ReLU()]
    up = [nn.ConvTranspose2d(6, 5, 2, 2), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*inner, *grouped, *up, nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


class Used(nn.Module):
    """What comes out of the convolution is used beside batch norm, and one pair is called twice."""

    def __init__(self, beside):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head, self.beside = nn.Linear(3, 2), beside

    def forward(self, x):
        a = self.conv(x)
        a = self.norm(a) + a if self.beside else self.norm(self.conv(self.norm(a)))
        return self.head(a.mean((2, 3)))


def test_outputs_and_gradients_are_the_same():
    net, x = stirred(plain()), torch.rand(2, 3, 9, 9).double()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fast = models.folded(net, x)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in fast.modules()) == 0
    torch.testing.assert_close(fast(x), net(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(Gradient()(fast, x), Gradient()(net, x), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert fast[0].weight.data_ptr() != net[0].weight.data_ptr()
    assert fast[12].weight.data_ptr() == net[12].weight.data_ptr(), "the rest is shared"


def test_inputs_are_guessed_for_images_only():
    net = stirred(plain())
    assert isinstance(models.folded(net)[1], nn.Identity)
    with pytest.raises(SurefootError, match=r"pass folded\(model, inputs\)"):
        models.folded(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval())


def test_a_layer_called_twice_is_left_alone():
    net, x = stirred(Used(beside=False)), torch.rand(1, 3, 6, 6).double()
    fast = models.folded(net, x)
    assert isinstance(fast.norm, nn.BatchNorm2d)
    torch.testing.assert_close(fast(x), net(x))


def test_what_would_change_the_outputs_is_refused():
    with pytest.raises(SurefootError, match="use the model itself"):
        models.folded(stirred(Used(beside=True)), torch.rand(1, 3, 6, 6).double())


def test_training_mode_is_refused():
    with pytest.raises(SurefootError, match="training mode"):
        models.folded(plain())


@pytest.mark.parametrize("piece", [False, True])
def test_channels_are_last_where_the_model_can_run_so(piece):
    class Viewed(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1) if piece else x.flatten(1)

    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm, Viewed(), nn.Linear(144, 2)).eval()
    x = torch.rand(2, 3, 8, 8)
    fast = models.folded(net, x)
    last = fast[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert last is not piece
    torch.testing.assert_close(fast(x), net(x))
    assert net[0].weight.is_contiguous()
