"""One number from a perturbation curve: deletion, insertion, MoRF and LeRF."""

from collections.abc import Mapping

from torch import Tensor, nn

from surefoot import checks
from surefoot.gradients import Score
from surefoot.metric._baselines import Baseline
from surefoot.metric._curves import perturbation_curve


def deletion(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    steps: int | None = None,
    baseline: Baseline = "mean",
    score: Score = "probability",
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Area under the score while places go, most salient first; lower is better.

    int_0^1 F(x without its top share s) ds, by the trapezoid rule (RISE, arXiv 1806.07421, whose
    code replaces by the data set's mean colour, 224 pixels a step).

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        h: maps, (N, H, W) for images, (N, T) for tokens, or shaped like the inputs.
        target: class index, one for each sample, or None for the class predicted for the images.
        steps: number of steps; None takes 32, or as many as there are places.
        baseline: what replaces a place, see `perturbation_curve`.
        score: what is followed, see `explain.Gradient`.
        extra: further keyword inputs of the model, each with leading dimension N.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        (N,), in [0, 1] for probabilities.

    Raises:
        SurefootError: as `perturbation_curve`.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> deletion(model, x, h, baseline="black", score="logit")
    tensor([0.5000])
    """
    curve = perturbation_curve(
        model,
        images,
        h,
        target,
        baseline=baseline,
        steps=steps,
        score=score,
        extra=extra,
        chunk=chunk,
    )
    return curve.area()


def insertion(
    model: nn.Module,
    images: Tensor,
    h: Tensor,
    target: checks.Target = None,
    *,
    steps: int | None = None,
    baseline: Baseline = "blur",
    score: Score = "probability",
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Area under the score while places come back, most salient first; higher is better.

    int_0^1 F(baseline with the top share s of x) ds, by the trapezoid rule (RISE, arXiv
    1806.07421). The default starts from the blurred image, as there; give another baseline for
    inputs that are not images. Arguments, range and errors are those of `deletion`.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> insertion(model, x, h, baseline="black", score="logit")
    tensor([1.5000])
    """
    curve = perturbation_curve(
        model,
        images,
        h,
        target,
        baseline=baseline,
        steps=steps,
        reveal=True,
        score=score,
        extra=extra,
        chunk=chunk,
    )
    return curve.area()


def morf(
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
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """AOPC, most relevant first: the mean drop while the map's top goes; higher is better.

    1 / (S + 1) sum_{s=0..S} F(x) - F(x^s), x^s after s steps (Samek et al., arXiv 1509.06321,
    with 9 x 9 regions, 100 steps of one region each and random fill).

    Args:
        model: module from images (N, ...) to logits (N, K), in evaluation mode.
        images: floating point (N, ...).
        h: maps, (N, H, W) for images, (N, T) for tokens, or shaped like the inputs.
        target: class index, one for each sample, or None for the class predicted for the images.
        region: side of the patches that go together, 1 for pixels.
        steps: number of steps S; None takes 32, or as many as there are regions.
        share: of all regions removed in the end, in (0, 1].
        baseline: what replaces a place, see `perturbation_curve`.
        score: F, see `explain.Gradient`.
        extra: further keyword inputs of the model, each with leading dimension N.
        chunk: images sent through the model at once; None chooses. It does not change results.

    Returns:
        (N,), in [-1, 1] for probabilities.

    Raises:
        SurefootError: as `perturbation_curve`.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> morf(model, x, h, baseline="black", score="logit")
    tensor([1.3333])
    """
    curve = perturbation_curve(
        model,
        images,
        h,
        target,
        order="morf",
        baseline=baseline,
        steps=steps,
        share=share,
        region=region,
        score=score,
        extra=extra,
        chunk=chunk,
    )
    return curve.aopc()


def lerf(
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
    extra: Mapping[str, Tensor] | None = None,
    chunk: int | None = None,
) -> Tensor:
    """AOPC, least relevant first: the mean drop while the map's bottom goes; lower is better.

    Formula, arguments, range and errors are those of `morf`, in the opposite order.

    >>> import torch
    >>> model = nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> x, h = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> lerf(model, x, h, baseline="black", score="logit")
    tensor([0.6667])
    """
    curve = perturbation_curve(
        model,
        images,
        h,
        target,
        order="lerf",
        baseline=baseline,
        steps=steps,
        share=share,
        region=region,
        score=score,
        extra=extra,
        chunk=chunk,
    )
    return curve.aopc()
