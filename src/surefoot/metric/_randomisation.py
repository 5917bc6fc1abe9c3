"""Sanity checks: does the map depend on the model's weights, and on the class it explains?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients
from surefoot.copies import copied
from surefoot.errors import SurefootError
from surefoot.metric._kinds import DOWN, EXPLAINER, SIGNED
from surefoot.metric._layers import find
from surefoot.metric._nudged import Explain, maps_of
from surefoot.metric._registry import measure
from surefoot.metric._similarity import spearman

Similarity = Callable[[Tensor, Tensor], Tensor]


@measure(EXPLAINER, SIGNED, DOWN)
def parameter_randomisation(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    similarity: Similarity = spearman,
    order: Literal["cascading", "independent"] = "cascading",
    layers: Sequence[str] | None = None,
    seed: int = 0,
    extra: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """How alike the map stays when the model's layers are randomised; lower is better.

    s(E(f), E(f_l)) for each layer l, f_l the model with l randomised ("independent"), or with l and
    all layers above it ("cascading", from the output down) (Adebayo et al., arXiv 1810.03292). Each
    parameter is redrawn from a Gaussian with its own mean and standard deviation, which keeps the
    scale of the activations and leaves constant parameters as they are; buffers stay (this
    project's choice: the source re-initialises). The model itself is not touched.

    Args:
        target: class index, one for each sample, or None for the class the unchanged model
            predicts, held while it is randomised.
        similarity: of two batches of maps; give e.g. `lambda a, b: spearman(a.abs(), b.abs())`
            for the source's other form.
        order: "cascading" or "independent".
        layers: names of the layers from the output down; None takes every module that has
            parameters of its own, last registered first.
        seed: of the draws; each layer's depend on its place in the list alone.

    Returns:
        By layer name in order, (N,) each, in the range of `similarity`, [-1, 1] for `spearman`.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, a target out of range, an
            unknown layer or order, or a model without parameters.

    >>> model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).eval()
    >>> parameter_randomisation(lambda model, x, target: x, model, torch.rand(1, 3))
    {'1': tensor([1.]), '0': tensor([1.])}
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    names = _layers(model) if layers is None else list(layers)
    if order not in ("cascading", "independent"):
        raise SurefootError(f'order={order!r}, expected "cascading" or "independent"')
    if not names:
        raise SurefootError("the model has no layer with parameters, nothing can be randomised")
    original = maps_of(explainer, request)
    changed = _randomised(model, names, seed, cascading=order == "cascading")
    return {
        name: _compared(similarity, original, maps_of(explainer, replace(request, model=other)))
        for name, other in changed
    }


@measure(EXPLAINER, SIGNED, DOWN)
def random_logit(
    explainer: Explain,
    model: nn.Module,
    images: Tensor,
    target: checks.Target = None,
    *,
    similarity: Similarity = spearman,
    seed: int = 0,
    extra: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """How alike the maps of the target and of another class are; lower is better.

    s(E_y(x), E_y'(x)), y' = (y + r) mod K with one random r in 1..K-1 for all samples (Sixt et al.,
    arXiv 1912.09818, who compare with SSIM: `similarity=ssim`).

    Args:
        target: class index, one for each sample, or None for the class predicted for the images.
        similarity: of two batches of maps.
        seed: of r.

    Returns:
        (N,), in the range of `similarity`, [-1, 1] for `spearman`.

    Raises:
        SurefootError: a training-mode model, inputs that are not finite, or a target out of range.

    >>> model = nn.Linear(3, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    >>> random_logit(lambda model, x, target: model.weight[target], model, torch.ones(1, 3))
    tensor([-1.])
    """
    request = gradients.query(model, images, target, extra, create_graph=False)
    one = request.take(slice(0, 1))
    found = gradients.predict(one.model, one.inputs, one.extra)
    checks.check_target_range(request.target, found)
    classes = found.shape[1]
    shift = int(torch.randint(1, classes, (), generator=draws.generator(seed, 0)))
    other = replace(request, target=(request.target + shift) % classes)
    return _compared(similarity, maps_of(explainer, request), maps_of(explainer, other))


def _compared(similarity: Similarity, one: Tensor, other: Tensor) -> Tensor:
    try:
        return similarity(one, other)
    except SurefootError:
        raise
    except Exception as error:  # it is the user's and may raise anything
        name = getattr(similarity, "__name__", type(similarity).__name__)
        raise SurefootError(
            f"similarity, {name}, fails on two batches of maps {tuple(one.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _layers(model: nn.Module) -> list[str]:
    own = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    return own[::-1]


def _randomised(
    model: nn.Module, names: Sequence[str], seed: int, *, cascading: bool
) -> Iterator[tuple[str, nn.Module]]:
    """A copy of the model for each name, with that layer (and those before it) randomised."""
    other = copied(model)
    for number, name in enumerate(names):
        if not cascading:
            other = copied(model)
        _redraw(find(other, name), draws.generator(seed, number))
        yield name, other


@torch.no_grad()
def _redraw(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters(recurse=False):
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        spread = parameter.std(correction=0)
        parameter.copy_(parameter.mean() + spread * noise)
