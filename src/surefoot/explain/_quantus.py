"""Explainers in the form that Quantus calls."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from surefoot import checks, programs
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer, as_explainer
from surefoot.maps import Layout, Reduction, layout_of, reduce, spread

Array = npt.NDArray[Any]


def quantus(
    explainer: Explainer, *, reduction: Reduction | None = None, layout: Layout | None = None
) -> Callable[..., Array]:
    """The explainer as an `explain_func` for Quantus: NumPy in, NumPy out.

    The function returned is `f(model, inputs, targets, *, device=None, extra=None, method=None)`.
    Inputs are cast to the model's dtype and put on `device`, or where the model is; the layout of
    the channels stays as given. A model in training mode is taken if nothing in it reads the mode,
    and is in evaluation mode afterwards, as after Quantus's own function: its metrics count on
    that. `quantus.evaluate` says which `method` it wants, by the name it gave this very function,
    so that there is nothing to choose.

    Args:
        explainer: the recipe.
        reduction: of the channels to one, such as "sum_abs", for metrics that take maps of one
            channel: (N, 1, H, W), (N, 1, L) or (N, T, 1); None leaves the maps as they are.
        layout: what the axes of the inputs mean, where it can be mistaken.

    >>> from surefoot.explain import Gradient
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> explain_func = quantus(Gradient(), reduction="sum_abs")
    >>> explain_func(net, np.ones((1, 3, 2, 2), np.float32), np.array([0])).shape
    (1, 1, 2, 2)
    """
    explainer = as_explainer(explainer)

    def explain_func(
        model: nn.Module,
        inputs: Array | Tensor,
        targets: Array | Tensor | int | None = None,
        *,
        device: torch.device | str | None = None,
        extra: Mapping[str, Tensor] | None = None,
        method: str | None = None,  # noqa: ARG001 (the name that evaluate gave this function)
    ) -> Array:
        if not isinstance(model, nn.Module):
            raise SurefootError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
        example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        place = example.device if device is None else torch.device(device)
        batch = _numbers(inputs, "inputs").to(place, example.dtype)
        labels = None if targets is None else _numbers(targets, "targets").to(place)
        programs.settle(model)
        maps = explainer(model, batch, labels, extra=extra, create_graph=False, layout=layout)
        if reduction is not None:
            said = layout_of(batch, model, layout)
            maps = spread(reduce(maps, reduction, said), said)
        known = maps.float() if maps.dtype == torch.bfloat16 else maps  # NumPy has none
        return np.asarray(known.cpu().numpy())

    return explain_func


def _numbers(given: object, name: str) -> Tensor:
    if isinstance(given, Tensor):
        checks.check_plain(given, name)
        return given.detach()
    try:
        return torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError, RuntimeError) as error:
        raise SurefootError(
            f"{name} is a {type(given).__name__} that holds no numbers ({error})"
        ) from error
