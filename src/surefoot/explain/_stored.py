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
    layout = explanation.layout
    content = {
        **_numbered("inputs", explanation.inputs),
        **_numbered("attributions", explanation.attributions),
        "target": explanation.target,
        "probabilities": explanation.probabilities,
        **{f"{_DETAIL}{name}": value for name, value in explanation.details.items()},
        **tensors(explanation.explainer),
    }
    told = {
        "explainer": to_json(explanation.explainer),
        "layout": None if isinstance(layout, Parts) else layout,
        "layouts": json.dumps(layout.layouts) if isinstance(layout, Parts) else None,
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
    several = json.loads(told["layouts"]) if "layouts" in told else None
    if several is not None:
        held |= _together(held, len(several))
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
        "layout": told.get("layout") if several is None else _parts(held["inputs"], several),
        "labels": tuple(json.loads(told["labels"])) if "labels" in told else None,
        "model": told.get("model"),
    }


def _numbered(name: str, value: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A tensor by its name, or those of several inputs by name and number."""
    if not isinstance(value, tuple):
        return {name: value}
    return {f"{name}.{number}": each for number, each in enumerate(value)}


def _together(held: dict[str, Any], count: int) -> dict[str, Any]:
    """The tuples of what `_numbered` took apart, as far as all of their tensors are there."""
    names = {n: [f"{n}.{number}" for number in range(count)] for n in ("inputs", "attributions")}
    return {
        name: tuple(held[each] for each in parts)
        for name, parts in names.items()
        if all(each in held for each in parts)
    }


def _parts(inputs: Any, layouts: list[Any]) -> Parts:
    shapes = tuple(tuple(each.shape[1:]) for each in inputs)
    return Parts(shapes, tuple(each.dtype for each in inputs), tuple(layouts))


def as_dict(explanation: "Explanation") -> dict[str, Any]:
    """Plain values, see `Explanation.to_dict`."""
    told = {
        "explainer": repr(explanation.explainer),
        "model": explanation.model,
        "layout": _layout(explanation.layout),
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
    maps = explanation.attributions
    several = [list(each.shape) for each in (maps if isinstance(maps, tuple) else [maps])]
    found["shape"] = several if isinstance(maps, tuple) else several[0]
    if not arrays:
        for name in ("inputs", "attributions", "probabilities"):
            del found[name]
        found["details"] = {k: v for k, v in found["details"].items() if v.size <= 1}
    return json.dumps(_plain(found), allow_nan=False)


def _layout(layout: AnyLayout | None) -> Any:
    """As plain values: of several inputs a list."""
    return list(layout.layouts) if isinstance(layout, Parts) else layout


def axes(layout: AnyLayout | None) -> Any:
    """The names of the axes of inputs and attributions; of several inputs a list of such lists.

    >>> axes("image")
    ['sample', 'channel', 'row', 'column']
    """
    if isinstance(layout, Parts):
        return [axes(each) for each in layout.layouts]
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
