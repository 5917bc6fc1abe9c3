"""What all pictures of images are drawn with: pixels, heat maps, captions, the colour bar."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surefoot.errors import optional
from surefoot.report._panel import GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float32]

COLOURS = "inferno"  # perceptually uniform, and black where there is nothing
SIDE = 2.35  # inches
_SCALE = "attribution, largest of the channels, each map scaled by itself"


def array(values: Tensor) -> Array:
    """The values as NumPy has them, in single precision."""
    return values.detach().float().cpu().numpy()


def flat(values: Tensor, images: bool) -> Tensor:
    """Volumes, which end in (D, H, W), as their middle slice; images as they are."""
    return values if images else values[..., values.shape[-3] // 2, :, :]


def pixels(photo: Array) -> Array:
    """(C, H, W) of any scale and number of channels as RGB (H, W, 3) in [0, 1]."""
    low, high = photo.min(), photo.max()
    if low < 0 or high > 1:
        photo = (photo - low) / max(high - low, 1e-12)
    return rgb(photo)


def rgb(photo: Array) -> Array:
    """(C, H, W) of any number of channels as (H, W, 3)."""
    if len(photo) != 3:
        photo = photo.mean(0, keepdims=True).repeat(3, 0)
    return photo.transpose(1, 2, 0)


def tallness(height: int, wide: int) -> float:
    """How much higher than wide a row of such images is drawn."""
    return min(3.0, max(0.4, height / wide))


def show(axis: "Axes", picture: Array) -> None:
    """RGB (H, W, 3) as it is, or a heat map (H, W) in the colours of all heat maps."""
    axis.imshow(picture, cmap=COLOURS, vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()


def head(axis: "Axes", text: str) -> None:
    """The title of a column."""
    axis.set_title(text, fontsize=8.5, color=INK, loc="left", pad=4)


def say_above(axis: "Axes", text: str) -> None:
    """A bold line above a picture."""
    _say(axis, text, (0, 1), 4, va="bottom", fontsize=8.5, color=INK, fontweight="bold")


def say_below(axis: "Axes", text: str, *, bold: bool = False) -> None:
    """A line below a picture: grey, or bold."""
    style = (
        {"fontsize": 8.5, "color": INK, "fontweight": "bold"}
        if bold
        else {"fontsize": 7, "color": GREY}
    )
    _say(axis, text, (0, 0), -4, va="top", **style)


def _say(axis: "Axes", text: str, place: tuple[float, float], off: float, **style: Any) -> None:
    axis.annotate(
        text, place, (0, off), xycoords="axes fraction", textcoords="offset points", **style
    )


def colour_bar(figure: "Figure", axes: Any, rows: int) -> None:
    """The scale of the heat maps, beside all axes."""
    cm, colors = optional("matplotlib.cm", "cli"), optional("matplotlib.colors", "cli")
    scale = cm.ScalarMappable(colors.Normalize(0, 1), cmap=COLOURS)
    bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.015, aspect=12 * rows)
    bar.set_label(_SCALE, fontsize=7, color=GREY)
    bar.ax.tick_params(labelsize=7, colors=GREY)
    bar.outline.set_visible(False)


def caption(figure: "Figure", text: str) -> None:
    """The recipe below all rows."""
    figure.supxlabel(text, fontsize=6.5, color=GREY, family="monospace", wrap=True)
