"""Explanations as files and as plain values, and back."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.files import read_tensors, write_tensors
from surefoot.maps import AnyLayout, Parts
from surefoot.recipes import family, tensors, to_json
from surefoot.version import versions

if TYPE_CHECKING:
    from surefoot.explain._explanation import Explanation

_DETAIL = "details."
_AXES = {
    "image": ("sample", "channel", "row", "column"),
    "volume": ("sample", "channel", "depth", "row", "column"),
    "signal": ("sample", "channel", "time"),
    "tokens": ("sample", "token", "embedding"),
    "record": ("sample", "feature"),
}


def save(explanation: "Explanation", path: Path) -> None:
    """Write it, see `Explanation.save`."""
    if isinstance(explanation.layout, Parts):
        raise SurefootError("an explanation of several inputs cannot be saved; save each of them")
    content = {
        "inputs": explanation.inputs,
        "attributions": explanation.attributions,
        "target": explanation.target,
        "probabilities": explanation.probabilities,
        **{f"{_DETAIL}{name}": value for name, value in explanation.details.items()},
        **tensors(explanation.explainer),
    }
    told = {
        "explainer": to_json(explanation.explainer),
        "layout": explanation.layout,
        "labels": None if explanation.labels is None else json.dumps(explanation.labels),
        "model": explanation.model,
        "versions": json.dumps(versions("torch")),
    }
    write_tensors(path, content, {name: text for name, text in told.items() if text is not None})


def load(path: str | Path) -> dict[str, Any]:
    """The fields of the explanation that `Explanation.save` wrote.

    The recipe is made again as `from_json` makes it: it may import what its author named.

    Raises:
        SurefootError: no such file, or none that holds a whole explanation.
    """
    held, told = read_tensors(path)
    wanted = ("inputs", "attributions", "target", "probabilities")
    missing = [name for name in wanted if name not in held]
    if missing or "explainer" not in told:
        raise SurefootError(
            f"{path} holds no whole explanation: {', '.join(missing or ['explainer'])} is missing; "
            "expected what Explanation.save writes"
        )
    details = {n.removeprefix(_DETAIL): v for n, v in held.items() if n.startswith(_DETAIL)}
    return {
        "explainer": family("explainer").from_json(told["explainer"], held),
        **{name: held[name] for name in wanted},
        "details": details,
        "layout": told.get("layout"),
        "labels": tuple(json.loads(told["labels"])) if "labels" in told else None,
        "model": told.get("model"),
    }


def as_dict(explanation: "Explanation") -> dict[str, Any]:
    """Plain values, see `Explanation.to_dict`."""
    told = {
        "explainer": repr(explanation.explainer),
        "model": explanation.model,
        "layout": explanation.layout if isinstance(explanation.layout, str) else None,
        "axes": axes(explanation.layout),
        "labels": None if explanation.labels is None else list(explanation.labels),
        "versions": versions("torch"),
    }
    names = ("inputs", "attributions", "target", "probabilities")
    arrays = {name: _array(getattr(explanation, name)) for name in names}
    details = {name: _array(value) for name, value in explanation.details.items()}
    return {**told, **arrays, "details": details}


def as_json(explanation: "Explanation", *, arrays: bool) -> str:
    """JSON text, see `Explanation.to_json`."""
    found = as_dict(explanation)
    del found["labels"]
    target, labels = explanation.target.tolist(), explanation.labels
    found["target"] = target
    found["target_labels"] = None if labels is None else [labels[each] for each in target]
    found["confidence"] = explanation.confidence().tolist()
    shape = getattr(explanation.attributions, "shape", None)
    found["shape"] = None if shape is None else list(shape)
    if not arrays:
        for name in ("inputs", "attributions", "probabilities"):
            del found[name]
        found["details"] = {k: v for k, v in found["details"].items() if v.size <= 1}
    return json.dumps(_plain(found), allow_nan=False)


def axes(layout: AnyLayout | None) -> list[str] | None:
    """The names of the axes of inputs and attributions.

    >>> axes("image")
    ['sample', 'channel', 'row', 'column']
    """
    return list(_AXES[layout]) if isinstance(layout, str) else None


def _array(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_array(each) for each in value]
    held: Tensor = value.detach().cpu()
    return (held.float() if held.dtype == torch.bfloat16 else held).numpy()


def _plain(value: Any) -> Any:
    """With lists for arrays, and None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
