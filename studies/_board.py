"""What the leaderboard measures of a network: accuracy, maps under attack, signs of masking."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studies._attacks import on_maps, right, robust
from studies._cells import made_by
from studies._tasks import Task
from surefoot import attack, explain, gradients, metric
from surefoot.attack import Linf
from surefoot.data import Samples
from surefoot.errors import SurefootError, SurefootWarning

BY = "this project"
MAP = explain.IntegratedGradients(steps=10)
_AGREES = 0.9
_SMALL = 1e-8  # in double precision: smaller than the kinks of maximum pooling are apart
_WIDE = 5  # epsilons within which an adversary must get nearly everything wrong
_FEW = 0.1
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Protocol:
    """How much is measured; the same for every network of the board.

    Attributes:
        images: the first test images that the network gets right; all attacks meet the same.
        steps: of TopK; RAR's protocol takes twice as many.
        ensemble: steps of each search of the ensemble.
        accuracy: test images for accuracy; PGD meets a tenth of them.
        checked: images of each check.
    """

    images: int = 24
    steps: int = 50
    ensemble: int = 20
    accuracy: int = 10_000
    checked: int = 8

    def attacks(self, task: Task) -> dict[str, Any]:
        """On maps, by the names of the board's columns."""
        known = on_maps(task, self.steps, self.ensemble)
        return {"TopK": known.topk, "RAR's protocol": known.rar, "Ensemble": known.ensemble}


def standing(
    net: nn.Module, task: Task, test: Samples, protocol: Protocol, about: Mapping[str, Any]
) -> dict[str, Any]:
    """A card's entry for the leaderboard, measured.

    Args:
        net: as it is loaded from its card.
        task: its data set, ball and k.
        test: the test split.
        protocol: how much.
        about: `method`, `by`, `source`, `claimed`, and the `command` that measures again.
    """
    x = images(net, task, test, protocol)
    known = protocol.attacks(task)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SurefootWarning)
        results = {name: one(net, x, None, MAP) for name, one in known.items()}
    left = {name: one.scores["topk_intersection"] for name, one in results.items()}
    signs = attack.RandomSign(Linf(task.epsilon), k=task.k)(net, x, None, MAP)
    random = _mean(signs.scores["topk_intersection"])
    checks = _checks(net, task, test, x[: protocol.checked])
    told = [f"{one.message}" for one in said if issubclass(one.category, SurefootWarning)]
    sparse = metric.gini(explain.reduce(explain.Gradient()(net, x), "sum_abs"))
    return {
        **{name: about[name] for name in ("method", "by", "source")},
        "threat": {
            "data": task.name,
            "norm": "Linf",
            "epsilon": task.epsilon,
            "k": task.k,
            "map": repr(MAP),
        },
        "claimed": {name: _rounded(value) for name, value in about["claimed"].items()},
        "measured": {
            "images": len(x),
            **_accuracy(net, task, test, protocol),
            "left": {name: _mean(value) for name, value in left.items()},
            "random signs": random,
            "kendall": _mean(results["TopK"].scores["kendall"]),
            "gini": _mean(sparse),
            "attacks": {name: repr(one) for name, one in known.items()},
            "checks": checks,
            "command": about["command"],
            **made_by(),
        },
        "best known": best(list(left.values()), [f"{name}, {BY}" for name in left]),
        "unreliable": _reason(checks, _mean(left["TopK"]), random, told),
    }


def images(net: nn.Module, task: Task, test: Samples, protocol: Protocol) -> Tensor:
    """Those whose maps are attacked.

    Raises:
        SurefootError: the network gets too few of them right to be measured.
    """
    many = 10 * protocol.images
    kept = right(net, test.inputs[:many], test.labels[:many]).bool()
    found = test.inputs[:many][kept][: protocol.images]
    if len(found) < protocol.images:
        raise SurefootError(
            f"the network gets {len(found)} of the first {many} test images of {task.name} right, "
            f"and {protocol.images} are attacked: is it for this data set?"
        )
    return found


def best(each: Sequence[Tensor], finders: Sequence[str]) -> dict[str, Any]:
    """What the worst attack on each image leaves, and who found how many of them.

    >>> best([torch.tensor([0.5, 0.25]), torch.tensor([0.25, 0.75])], ["a", "b"])
    {'left': 0.25, 'each': [0.25, 0.25], 'found by': ['b', 'a']}
    """
    lowest, which = torch.stack(list(each)).min(0)
    shares = [_rounded(float(one)) for one in lowest]
    found = [finders[i] for i in which.tolist()]
    return {"left": _rounded(sum(shares) / len(shares)), "each": shares, "found by": found}


def verified(
    net: nn.Module, task: Task, x: Tensor, examples: Tensor, old: Mapping[str, Any], by: str
) -> dict[str, Any]:
    """The best known attack with examples that someone sent, each looked at.

    Raises:
        SurefootError: they are not of these images, leave the ball or the images' range, change a
            prediction, or none of them is worse than what is known.
    """
    if examples.shape != x.shape:
        raise SurefootError(f"examples of shape {tuple(examples.shape)}, expected {tuple(x.shape)}")
    far = float((examples - x).abs().max())
    if far > task.epsilon + _ROUNDING or examples.min() < 0 or examples.max() > 1:
        raise SurefootError(
            f"the examples lie up to {far:.4g} from their images and in [{examples.min():.4g}, "
            f"{examples.max():.4g}]; expected {task.epsilon} at most, and [0, 1]"
        )
    labels = gradients.predict(net, x).argmax(1)
    kept = gradients.predict(net, examples).argmax(1) == labels
    if not kept.all():
        raise SurefootError(
            f"{int((~kept).sum())} examples change the prediction; send the image itself where "
            "none was found"
        )
    maps = [explain.reduce(MAP(net, one, labels), "sum_abs") for one in (x, examples)]
    left, before = metric.topk_intersection(*maps, k=task.k), torch.tensor(old["each"])
    lower = left < before - _ROUNDING
    if not lower.any():
        raise SurefootError("no example leaves less than the best attack known")
    each = [_rounded(float(one)) for one in torch.where(lower, left, before)]
    found = [by if new else name for new, name in zip(lower, old["found by"], strict=True)]
    return {"left": _rounded(sum(each) / len(each)), "each": each, "found by": found}


def _accuracy(net: nn.Module, task: Task, test: Samples, protocol: Protocol) -> dict[str, float]:
    x, y = test.inputs[: protocol.accuracy], test.labels[: protocol.accuracy]
    few = max(1, len(x) // 10)
    return {
        "accuracy": _mean(right(net, x, y)),
        "adversarial accuracy": _mean(robust(net, x[:few], y[:few], task.epsilon)),
    }


def _checks(net: nn.Module, task: Task, test: Samples, x: Tensor) -> dict[str, float]:
    """What masked gradients would spoil."""
    double = copy.deepcopy(net).double()
    slopes = attack.check_second_order(
        *(double, x.double(), None, MAP), k=task.k, difference=_SMALL
    )
    many = 8 * len(x)
    wide = robust(net, test.inputs[:many], test.labels[:many], _WIDE * task.epsilon)
    return {
        # Of signs: one entry at a tie of maximum pooling may outweigh all others in the cosine.
        "finite and exact agree": _rounded(float(slopes.sign.nan_to_num(0.0).median())),
        f"accuracy within {_WIDE} epsilon": _mean(wide),
    }


def _reason(
    checks: Mapping[str, float], left: float, random: float, told: Sequence[str]
) -> str | None:
    agree, wide = checks.values()
    found = list(dict.fromkeys(told))
    if agree < _AGREES:
        found.append(f"slopes by differences and by double backward share {agree:.0%} of signs")
    if wide > _FEW:
        found.append(f"PGD within {_WIDE} epsilon leaves {wide:.0%} right: its gradients mislead")
    if random < left:
        found.append(f"random signs leave {random:.2f}, less than TopK ({left:.2f})")
    return "; ".join(found) or None


def _mean(values: Tensor) -> float:
    return _rounded(float(values.double().mean()))


def _rounded(value: float) -> float:
    return round(float(value), 4)
