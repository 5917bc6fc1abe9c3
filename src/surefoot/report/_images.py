"""Rows of photograph, base map, map and overlay."""

from typing import TYPE_CHECKING, Any

from surefoot.errors import optional
from surefoot.explain import heatmap
from surefoot.report._canvas import (
    COLOURS,
    SIDE,
    Array,
    array,
    colour_bar,
    flat,
    head,
    pixels,
    say_above,
    say_below,
    show,
    tallness,
)
from surefoot.report._panel import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_images(panel: Panel) -> "Figure":
    """The figure of images (N, C, H, W) or of the middle slices of volumes (N, C, D, H, W)."""
    figures = optional("matplotlib.figure", "cli")
    maps = [panel.explanation.attributions] + ([] if panel.base is None else [panel.base])
    images = panel.explanation.inputs.ndim == 4
    heats = [array(flat(heatmap(each, panel.percentile), images)) for each in maps][::-1]
    photos = array(flat(panel.explanation.inputs, images))
    columns = 2 + len(heats)
    tall = tallness(*photos.shape[-2:])
    figure: Figure = figures.Figure(
        figsize=(columns * SIDE + 0.7, panel.rows * (SIDE * tall + 0.3) + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(panel.rows, columns, squeeze=False)
    for row in range(panel.rows):
        _draw_row(axes[row], photos[row], [heat[row] for heat in heats], panel, row)
    _head(axes[0], panel)
    colour_bar(figure, axes, panel.rows)
    return figure


def _draw_row(axes: Any, photo: Array, heats: list[Array], panel: Panel, row: int) -> None:
    picture = pixels(photo)
    for axis, shown in zip(axes, [picture, *heats, _overlay(picture, heats[-1])], strict=True):
        show(axis, shown)
    say_above(axes[0], panel.title(row))
    say_below(axes[0], panel.name(row))


def _head(axes: Any, panel: Panel) -> None:
    base, whole = panel.heading()
    heads = [*([] if panel.base is None else [base]), whole, "overlay"]
    for axis, text in zip(axes[1:], heads, strict=True):
        head(axis, text.replace("(", "\n("))


def _overlay(picture: Array, heat: Array) -> Array:
    """The heat over the photograph in grey, the more opaque the hotter."""
    colours = optional("matplotlib", "cli").colormaps[COLOURS]
    strength = heat[..., None]
    grey = picture.mean(2, keepdims=True) * 0.8 + 0.2
    painted: Array = grey * (1 - strength) + colours(heat)[..., :3] * strength
    return painted
