"""Every objective trains a small net on real data: handwritten digits of 8 x 8 pixels."""

import pytest
import torch
from torch import Tensor, nn

from surefoot import attack, metric, train
from surefoot.explain import Gradient

datasets = pytest.importorskip("sklearn.datasets")

FAST = {"steps": 1, "points": 2, "attack_points": 1}
STEPS, BATCH = 40, 64

CASES = [
    train.Natural(),
    train.PGD(0.1, steps=2),
    train.FGSM(0.1),
    train.FreeAT(0.1),
    train.TRADES(0.1, steps=2, step_size=0.06),
    train.SCAAT(0.2, steps=2),
    train.SCAAT(0.3, steps=2, constraint="hard", divergence="js", schedule="k"),
    train.SaliencyGuided(),
    train.SaliencyGuided(ranking="absolute"),
    train.IGNorm(0.1, **FAST),
    train.IGSumNorm(0.1, **FAST),
    train.AttributionalRegularizers(0.1, temperature="auto", cacr_weight=0.01, **FAST),
    train.InputGradientAlignment(0.1, steps=1),
    train.IGR(train.PGD(0.1, steps=2), points=2),
    train.AttributionalAT(train.PGD(0.1, steps=2), points=2, steps=2),
    train.LocalGradientAlignment(0.05),
    train.R2ET(),
    train.SmoothedCurvature(),
    train.InputGradientRegularization(0.3),
    train.JacobianRegularization(),
    train.RightForRightReasons(0.01),
]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    found = datasets.load_digits()
    images = torch.from_numpy(found.images).float()[:, None] / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.from_numpy(found.target)[order]


def trained(objective: train.Objective, digits: tuple[Tensor, Tensor]) -> nn.Module:
    images, labels = digits[0][:1300], digits[1][:1300]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        net = nn.Sequential(*layers, nn.Linear(128, 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    source, state = torch.Generator().manual_seed(0), None
    for step in range(STEPS):
        which = torch.randint(len(images), (BATCH,), generator=source)
        loss = objective(
            net,
            images[which],
            labels[which],
            generator=source,
            progress=step / STEPS,
            state=state,
        )
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        state = loss.state
    return net.eval()


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (net(images).argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize("objective", CASES, ids=repr)
def test_reaches_a_sane_accuracy(objective: train.Objective, digits: tuple[Tensor, Tensor]) -> None:
    net = trained(objective, digits)
    assert accuracy(net, digits[0][1300:], digits[1][1300:]) > 0.82


def test_every_objective_is_trained() -> None:
    assert {type(objective).__name__ for objective in CASES} == set(train.names())


def test_adversarial_training_and_saliency_constraint_do_what_they_are_for(
    digits: tuple[Tensor, Tensor],
) -> None:
    """Adversarial accuracy up by PGD; sparser gradients by SCAAT at about the same accuracy."""
    images, labels = digits[0][1300:], digits[1][1300:]
    natural, robust, scaat = (
        trained(o, digits)
        for o in (train.Natural(), train.PGD(0.1, steps=2), train.SCAAT(0.3, steps=3))
    )
    pgd = attack.PGD(attack.Linf(0.1, steps=5, step_size=0.04))
    held = [pgd(net, images, labels).robust.float().mean() for net in (natural, robust)]
    assert held[1] > held[0] + 0.08
    sparse = [metric.gini(Gradient()(net, images, labels)).mean() for net in (natural, scaat)]
    assert sparse[1] > sparse[0] + 0.03
    assert accuracy(scaat, images, labels) > accuracy(natural, images, labels) - 0.03
