"""An attack on explanations as a figure: what was changed, and what became of the maps."""

import math
from typing import TYPE_CHECKING, Any

from surefoot.errors import SurefootError, optional
from surefoot.explain import heatmap
from surefoot.report._attacked import Attacked
from surefoot.report._canvas import (
    SIDE,
    array,
    caption,
    colour_bar,
    flat,
    head,
    pixels,
    rgb,
    say_below,
    show,
    tallness,
)
from surefoot.report._panel import GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 5
_LINE = 0.17  # inches
_LABELS, _SCORE = 0.2015, 0.115  # shares of a row's width: before its scores, and of each


def attack_picture(attacked: Attacked, *, percentile: float = 95) -> "Figure":
    """An attack's result as a matplotlib figure, one row a sample.

    A row shows the input, the perturbed input, their difference around grey, magnified by a power
    of two that the title states, and the maps before and after, as `surefoot.explain.heatmap`
    makes them, each scaled by itself. Below it stand the scores, with those of random signs of
    the same size under them. Of volumes the middle slice is shown.

    Args:
        attacked: the result and what it must be read beside.
        percentile: at which heat maps are capped.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: inputs that are neither images nor volumes.
    """
    figures = optional("matplotlib.figure", "cli")
    shape = tuple(attacked.result.originals.shape)
    if len(shape) not in (4, 5):
        raise SurefootError(
            f"cannot draw an attack on inputs of shape {shape}; expected images (N, C, H, W) or "
            "volumes (N, C, D, H, W)"
        )
    below = _LINE * (3.6 if attacked.control else 2.6)
    side = SIDE * tallness(*shape[-2:])
    figure: Figure = figures.Figure(
        figsize=(_COLUMNS * SIDE + 0.7, shape[0] * (side + below + 0.15) + 0.75),
        layout="constrained",
    )
    grid = figure.add_gridspec(2 * shape[0], _COLUMNS, height_ratios=[side, below] * shape[0])
    axes = [
        [figure.add_subplot(grid[2 * row, column]) for column in range(_COLUMNS)]
        for row in range(shape[0])
    ]
    bands = [figure.add_subplot(grid[2 * row + 1, :]) for row in range(shape[0])]
    _draw(axes, attacked, percentile)
    for row, band in enumerate(bands):
        _scores(band, attacked, row)
    colour_bar(figure, [axis for row in axes for axis in row] + bands, shape[0])
    caption(figure, _recipes(attacked))
    return figure


def _draw(axes: Any, attacked: Attacked, percentile: float) -> None:
    result = attacked.result
    images = result.originals.ndim == 4
    before, after = (array(flat(each, images)) for each in (result.originals, result.inputs))
    maps = [
        array(flat(heatmap(each, percentile), images)) for each in (result.before, result.after)
    ]
    change = array(flat(result.inputs.double() - result.originals.double(), images))
    most = float((result.inputs.double() - result.originals.double()).abs().max())
    factor = magnification(most)
    for row, five in enumerate(axes):
        grey = (0.5 + factor * rgb(change[row])).clip(0, 1)
        shown = [pixels(before[row]), pixels(after[row]), grey, maps[0][row], maps[1][row]]
        for axis, each in zip(five, shown, strict=True):
            show(axis, each)
        _say(five, attacked, row)
    name = attacked.maps().replace("(", "\n(")
    titles = ["original", "perturbed", _title(most, factor), f"{name}, before", f"{name}, after"]
    for axis, text in zip(axes[0], titles, strict=True):
        head(axis, text)


def magnification(most: float) -> int:
    """The largest power of two that keeps a difference inside half the range of a pixel.

    >>> magnification(1 / 255), magnification(0.0)
    (64, 1)
    """
    return max(1, 2 ** math.floor(math.log2(0.5 / most * (1 + 1e-6)))) if most > 0 else 1


def pixel_steps(amount: float) -> str:
    """An amount in units of an 8-bit pixel's steps.

    >>> pixel_steps(1 / 255), pixel_steps(0.1)
    ('1/255', '25.5/255')
    """
    return f"{255 * amount:.3g}/255"


def _title(most: float, factor: int) -> str:
    if not most:
        return "difference: none"
    return f"difference ×{factor}, at most {pixel_steps(most)}"  # noqa: RUF001 (the sign)


def _say(axes: Any, attacked: Attacked, row: int) -> None:
    before, after = attacked.predictions(row)
    say_below(axes[0], before, bold=True)
    kept = f"{after}, kept" if attacked.kept(row) else "none kept the prediction"
    say_below(axes[1], kept, bold=True)
    say_below(axes[3], f"for {attacked.explained(row)}")


def _scores(band: "Axes", attacked: Attacked, row: int) -> None:
    """The sample's name and scores as a small table."""
    band.set_axis_off()
    lines = [(attacked.name(row), attacked.heads()), *attacked.scores(row)]
    for number, (who, cells) in enumerate(lines):
        style: dict[str, Any] = {"color": GREY, "fontsize": 8 if number else 7}
        if number == 1:
            style |= {"color": INK, "fontweight": "bold"}
        for place, cell in enumerate([who, *cells]):
            band.annotate(
                cell,
                (_LABELS + _SCORE * (place - 1) if place else 0, 1),
                (0, -72 * _LINE * (number + 0.4)),
                xycoords="axes fraction",
                textcoords="offset points",
                va="top",
                **style,
            ).set_in_layout(False)


def _recipes(attacked: Attacked) -> str:
    result = attacked.result
    text = f"{result.attack!r} on {result.explainer!r}"
    radius = getattr(result.attack.budget, "epsilon", None)
    if isinstance(radius, float) and float(f"{255 * radius:.3g}") / 255 == radius:
        text = text.replace(f"({radius!r}", f"({pixel_steps(radius)}", 1)
    return text if len(text) < 400 else f"{type(result.attack).__name__} on {attacked.maps()}"
