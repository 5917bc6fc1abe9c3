"""An attack on signals, sentences, records or several inputs: their maps before and after."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surefoot.explain import Explanation
from surefoot.report._attacked import Attacked
from surefoot.report._panel import After, Names, Panel
from surefoot.report._picture import make_panel

_TOLD = 6  # samples whose scores stand in a caption


def changed(attacked: Attacked, features: Names | None, **choices: Any) -> Panel:
    """The panel of an attack's inputs, with what became of them."""
    result = attacked.result
    said = [_said(attacked, row) for row in range(len(result))]
    after = After(
        result.inputs.cpu(), result.after.cpu(), said, recipes(attacked), _scores(attacked)
    )
    explained, names = _explained(attacked), attacked.names
    panel = make_panel(explained, labels=attacked.labels, names=names, features=features, **choices)
    return replace(panel, after=after)


def _explained(attacked: Attacked) -> Explanation:
    """The clean inputs and their maps."""
    result = attacked.result
    target = result.target.cpu()
    unknown = torch.full((len(target), int(target.max()) + 1), torch.nan)
    shares = unknown if attacked.clean is None else attacked.clean.cpu()
    layout = result.layout if isinstance(result.layout, str) else None
    maps = (result.originals.cpu(), result.before.cpu())
    return Explanation(result.explainer, *maps, target, shares, layout=layout)


def _said(attacked: Attacked, row: int) -> str:
    """What became of a sample's prediction."""
    if not attacked.kept(row):
        return "no change kept the prediction"
    share = attacked.predictions(row)[1].rpartition(", ")[2]
    return f"afterwards {share}, kept" if attacked.moved is not None else "prediction kept"


def _scores(attacked: Attacked) -> str:
    """The scores of all samples, beside those of random signs."""
    rows = []
    for row in range(min(len(attacked.result), _TOLD)):
        each = [
            f"{who}: {', '.join(map(' '.join, zip(attacked.heads(), cells, strict=True)))}"
            for who, cells in attacked.scores(row)
        ]
        name = attacked.name(row) or (f"sample {row + 1}" if len(attacked.result) > 1 else "")
        rows.append(f"{name and f'{name}, '}{'; '.join(each)}")
    left = len(attacked.result) - len(rows)
    return "; ".join([*rows, *([f"and {left} more"] if left else [])])


def pixel_steps(amount: float) -> str:
    """An amount in units of an 8-bit pixel's steps.

    >>> pixel_steps(1 / 255), pixel_steps(0.1)
    ('1/255', '25.5/255')
    """
    return f"{255 * amount:.3g}/255"


def recipes(attacked: Attacked) -> str:
    """The attack and what it attacked, with the budget in steps of pixels where it has images."""
    result = attacked.result
    text = f"{result.attack!r} on {result.explainer!r}"
    radius = getattr(result.attack.budget, "epsilon", None)
    images = not isinstance(result.originals, Tensor) or result.originals.ndim in (4, 5)
    if images and isinstance(radius, float) and float(f"{255 * radius:.3g}") / 255 == radius:
        text = text.replace(f"({radius!r}", f"({pixel_steps(radius)}", 1)
    return text if len(text) < 600 else f"{type(result.attack).__name__} on {attacked.maps()}"
