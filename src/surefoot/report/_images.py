"""Rows of photograph, base map, map and overlay."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surefoot.errors import optional
from surefoot.explain import heatmap
from surefoot.report._panel import GREY, INK, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float32]

_COLOURS = "inferno"  # perceptually uniform, and black where there is nothing
_SIDE = 2.35  # inches
_SCALE = "attribution, largest of the channels, each map scaled by itself"


def draw_images(panel: Panel) -> "Figure":
    """The figure of images (N, C, H, W) or of the middle slices of volumes (N, C, D, H, W)."""
    figures = optional("matplotlib.figure", "cli")
    maps = [panel.explanation.attributions] + ([] if panel.base is None else [panel.base])
    images = panel.explanation.inputs.ndim == 4
    heats = [_array(_flat(heatmap(each, panel.percentile), images)) for each in maps][::-1]
    photos = _array(_flat(panel.explanation.inputs, images))
    columns = 2 + len(heats)
    height, wide = photos.shape[-2:]
    tall = min(3.0, max(0.4, height / wide))
    figure: Figure = figures.Figure(
        figsize=(columns * _SIDE + 0.7, panel.rows * (_SIDE * tall + 0.3) + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(panel.rows, columns, squeeze=False)
    for row in range(panel.rows):
        _draw_row(axes[row], photos[row], [heat[row] for heat in heats], panel, row)
    _head(axes[0], panel)
    _colour_bar(figure, axes)
    return figure


def _draw_row(axes: Any, photo: Array, heats: list[Array], panel: Panel, row: int) -> None:
    picture = _pixels(photo)
    first, *middle, last = axes
    first.imshow(picture, interpolation="nearest")
    for axis, heat in zip(middle, heats, strict=True):
        axis.imshow(heat, cmap=_COLOURS, vmin=0, vmax=1, interpolation="nearest")
    last.imshow(_overlay(picture, heats[-1]), interpolation="nearest")
    for axis in axes:
        axis.set_axis_off()
    _say(first, panel.title(row), "bottom", 8.5, INK)
    _say(first, panel.name(row), "top", 7, GREY)


def _say(axis: "Axes", text: str, side: str, size: float, colour: str) -> None:
    above = side == "bottom"
    axis.annotate(
        text,
        (0, 1 if above else 0),
        (0, 4 if above else -4),
        xycoords="axes fraction",
        textcoords="offset points",
        va=side,
        fontsize=size,
        color=colour,
        fontweight="bold" if above else "normal",
    )


def _head(axes: Any, panel: Panel) -> None:
    base, whole = panel.heading()
    heads = [*([] if panel.base is None else [base]), whole, "overlay"]
    for axis, text in zip(axes[1:], heads, strict=True):
        axis.set_title(text.replace("(", "\n("), fontsize=8.5, color=INK, loc="left", pad=4)


def _colour_bar(figure: "Figure", axes: Any) -> None:
    cm, colors = optional("matplotlib.cm", "cli"), optional("matplotlib.colors", "cli")
    scale = cm.ScalarMappable(colors.Normalize(0, 1), cmap=_COLOURS)
    bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.015, aspect=12 * len(axes))
    bar.set_label(_SCALE, fontsize=7, color=GREY)
    bar.ax.tick_params(labelsize=7, colors=GREY)
    bar.outline.set_visible(False)


def _flat(values: Tensor, images: bool) -> Tensor:
    """Volumes, which end in (D, H, W), as their middle slice; images as they are."""
    return values if images else values[..., values.shape[-3] // 2, :, :]


def _array(values: Tensor) -> Array:
    return values.detach().float().cpu().numpy()


def _pixels(photo: Array) -> Array:
    """(C, H, W) of any scale and number of channels as RGB (H, W, 3) in [0, 1]."""
    low, high = photo.min(), photo.max()
    if low < 0 or high > 1:
        photo = (photo - low) / max(high - low, 1e-12)
    if len(photo) != 3:
        photo = photo.mean(0, keepdims=True).repeat(3, 0)
    return photo.transpose(1, 2, 0)


def _overlay(picture: Array, heat: Array) -> Array:
    """The heat over the photograph in grey, the more opaque the hotter."""
    colours = optional("matplotlib", "cli").colormaps[_COLOURS]
    strength = heat[..., None]
    grey = picture.mean(2, keepdims=True) * 0.8 + 0.2
    painted: Array = grey * (1 - strength) + colours(heat)[..., :3] * strength
    return painted
