"""Which data a run is trained on, and what is done to them: what its checkpoints are bound to."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from surefoot.data import Pictures, Samples
from surefoot.models import inside
from surefoot.recipes import digest, show
from surefoot.train.loop._batches import spread
from surefoot.train.loop._fetch import fetch
from surefoot.undo import draws_kept

_SAMPLES = 16


def identity(data: Any, model: nn.Module, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What must be the same in a resumed run, besides its settings, as plain values.

    Args:
        data: the training data.
        model: what is trained; its weights' names and shapes say the rest about it.
        more: the caller's own, by name.
    """
    classes, augment = getattr(data, "classes", None), getattr(data, "augment", None)
    own = {
        "data set": getattr(data, "name", None) or None,
        "training samples": len(data),
        "classes": None if classes is None else list(map(str, classes)),
        "digest of a few samples": _digest(data),
        "augmentation": None if augment is None else _shown(augment),
        "normalisation": _normalisation(model),
    }
    plain: dict[str, Any] = json.loads(json.dumps({**(more or {}), **own}, default=show))
    return plain


def _digest(data: Any) -> str:
    """Of samples spread over the data, untransformed; of their labels where that cannot be had."""
    numbers = torch.cat([spread(data, _SAMPLES), torch.tensor([len(data) - 1])])
    parts: tuple[Tensor, ...]
    if isinstance(data, Samples | Pictures):
        inputs, labels = data.augmented(None)[numbers]
        parts = (inputs, torch.as_tensor(labels))
    elif type(data) is TensorDataset:
        parts = data[numbers]
    else:
        with draws_kept():
            parts = (fetch(data, numbers).labels,)
    return " ".join(digest(part)[7:19] for part in parts)


def _shown(augment: object) -> str:
    return repr(augment) if is_dataclass(augment) else show(augment)


def _normalisation(model: nn.Module) -> str | None:
    """Mean and standard deviation inside the model, which are no weights."""
    found = [
        f"{name} {value}"
        for module in model.modules()
        for name, value in inside(module).items()
        if value is not None
    ]
    return ", ".join(found) or None
