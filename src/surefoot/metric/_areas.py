"""One number from a perturbation curve: deletion, insertion, MoRF and LeRF."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from surefoot import checks
from surefoot.gradients import Score
from surefoot.maps import Layout
from surefoot.metric._baselines import Baseline
from surefoot.metric._curves import curve, step_by_step
from surefoot.metric._door import door
from surefoot.metric._evaluate import grid
from surefoot.metric._kinds import DOWN, MODEL_MAP, ONE, SIGNED, UP
from surefoot.metric._registry import measure
from surefoot.metric._removal import Removal


def _by_places(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    steps: int | None = None,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Removal:
    return step_by_step(
        grid(model, images, target, extra, chunk, layout), h, baseline, score, steps
    )


def _by_regions(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    region: int = 1,
    steps: int | None = None,
    share: float = 1.0,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    chunk: int | None = None,
) -> Removal:
    asked = grid(model, images, target, extra, chunk, layout)
    return step_by_step(asked, h, baseline, score, steps, share, region)


@measure(MODEL_MAP, ONE, DOWN)
@door(_by_places)
def deletion(removal: Removal) -> Tensor:
    """Area under the score while places go, most salient first; lower is better.

    int_0^1 F(x without its top share s) ds, by the trapezoid rule (RISE, arXiv 1806.07421, whose
    code replaces by the data set's mean colour, 224 pixels a step).

    Returns:
        (N,), in [0, 1] for probabilities.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> deletion(model, x, h, baseline="black", score="logit")
    tensor([0.5000])
    """
    return curve(removal).area()


@measure(MODEL_MAP, ONE, UP)
@door(_by_places, baseline="blur")
def insertion(removal: Removal) -> Tensor:
    """Area under the score while places come back, most salient first; higher is better.

    int_0^1 F(baseline with the top share s of x) ds, by the trapezoid rule (RISE, arXiv
    1806.07421). The default starts from the blurred image, as there; give another baseline for
    inputs that are not images.

    Returns:
        (N,), in [0, 1] for probabilities.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> insertion(model, x, h, baseline="black", score="logit")
    tensor([1.5000])
    """
    return curve(removal, reveal=True).area()


@measure(MODEL_MAP, SIGNED, UP)
@door(_by_regions)
def morf(removal: Removal) -> Tensor:
    """AOPC, most relevant first: the mean drop while the map's top goes; higher is better.

    1 / (S + 1) sum_{s=0..S} F(x) - F(x^s), x^s after s steps (Samek et al., arXiv 1509.06321,
    with 9 x 9 regions, 100 steps of one region each and random fill).

    Returns:
        (N,), in [-1, 1] for probabilities.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> morf(model, x, h, baseline="black", score="logit")
    tensor([1.3333])
    """
    return curve(removal).aopc()


@measure(MODEL_MAP, SIGNED, DOWN)
@door(_by_regions)
def lerf(removal: Removal) -> Tensor:
    """AOPC, least relevant first: the mean drop while the map's bottom goes; lower is better.

    The formula is that of `morf`, in the opposite order.

    Returns:
        (N,), in [-1, 1] for probabilities.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> lerf(model, x, h, baseline="black", score="logit")
    tensor([0.6667])
    """
    return curve(removal, "lerf").aopc()
