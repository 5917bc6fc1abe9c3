"""`eval_mode` leaves no trace."""

import pytest
import torch
from torch import Tensor, nn

from surefoot.train import eval_mode


@pytest.fixture
def model() -> nn.Module:
    inner = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    model = nn.Sequential(nn.Linear(3, 3), inner, nn.BatchNorm1d(3, affine=False))
    model.train()
    inner[0].eval()
    return model


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_everything_is_in_evaluation_mode_inside_and_as_before_outside(model: nn.Module) -> None:
    before, values = flags(model), state(model)
    assert len(set(before)) == 2
    with eval_mode(model) as same:
        assert same is model
        assert not any(flags(model))
        model(torch.rand(4, 3))
    assert flags(model) == before
    assert unchanged(model, values)


def test_an_exception_changes_nothing(model: nn.Module) -> None:
    before = flags(model)
    with pytest.raises(RuntimeError, match="inside"), eval_mode(model):
        raise RuntimeError("inside")
    assert flags(model) == before


def test_statistics_are_restored_if_something_inside_trains(model: nn.Module) -> None:
    before, values = flags(model), state(model)
    with eval_mode(model):
        model.train()
        model(torch.rand(4, 3))
        assert not unchanged(model, values)
    assert flags(model) == before
    assert unchanged(model, values)


def test_it_nests(model: nn.Module) -> None:
    before = flags(model)
    with eval_mode(model):
        with eval_mode(model):
            pass
        assert not any(flags(model))
    assert flags(model) == before


def test_a_graph_made_inside_can_be_used_outside(model: nn.Module) -> None:
    """Writing into the statistics on the way out would forbid it."""
    x = torch.rand(4, 3, requires_grad=True)
    with eval_mode(model):
        loss = model(x).square().sum()
    loss.backward()
    assert x.grad is not None


def test_hooks_and_overridden_methods_are_not_called_or_lost(model: nn.Module) -> None:
    class Merging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.switched = 0

        def train(self, mode: bool = True) -> "Merging":
            self.switched += 1
            return super().train(mode)

    merging, seen = Merging(), []
    model.append(merging)
    model[0].register_forward_hook(lambda *_: seen.append(1))
    with eval_mode(model):
        model[0](torch.rand(2, 3))
    assert merging.switched == 0
    assert seen == [1]
    assert len(model[0]._forward_hooks) == 1


def test_frozen_weights_stay_frozen(model: nn.Module) -> None:
    model[0].weight.requires_grad_(False)
    model[0].bias.grad = torch.ones(3)
    with eval_mode(model):
        assert not model[0].weight.requires_grad
    assert not model[0].weight.requires_grad
    assert torch.equal(model[0].bias.grad, torch.ones(3))


def test_batch_norm_without_statistics(model: nn.Module) -> None:
    plain = nn.BatchNorm1d(3, track_running_stats=False)
    with eval_mode(plain):
        plain(torch.rand(4, 3))
    assert plain.training
