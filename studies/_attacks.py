"""What every network of the training studies and of the leaderboard meets, by the same settings."""

from typing import NamedTuple

from torch import Tensor, nn

from studies._tasks import Task
from surefoot import attack, gradients
from surefoot.attack import Linf


class OnMaps(NamedTuple):
    """Three attacks on maps: the default, RAR's protocol, and the strongest."""

    topk: attack.TopK
    rar: attack.TopK
    ensemble: attack.Ensemble


def on_maps(task: Task, steps: int, ensemble: int) -> OnMaps:
    """In the task's ball; RAR's protocol takes twice the steps of TopK."""
    rar = Linf(task.epsilon, steps=2 * steps, step_size=task.epsilon / 10)
    return OnMaps(
        attack.TopK(Linf(task.epsilon, steps=steps), k=task.k),
        attack.TopK(rar, k=task.k, beta=1.0, keep="kendall"),
        attack.Ensemble(Linf(task.epsilon, steps=ensemble), k=task.k, effort="quick"),
    )


def right(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which the network gets right, (N,), as numbers."""
    return (gradients.predict(net, x).argmax(1) == y).float()


def robust(net: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Which it gets right under PGD of 20 steps from a random point, (N,), as numbers."""
    budget = Linf(epsilon, steps=20, step_size=epsilon / 10, random_start=True)
    return attack.PGD(budget)(net, x, y).robust.float()
