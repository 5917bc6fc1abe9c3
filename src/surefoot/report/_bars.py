"""Rows of bars, one a token or feature."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from surefoot.errors import SurefootError, optional
from surefoot.explain import reduce
from surefoot.report._panel import GREY, INK, NEGATIVE, POSITIVE, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_TICKS = 60


def draw_bars(panel: Panel) -> "Figure":
    """The figure of tokens (N, T, D) or records (N, F): the base's bars beside the map's."""
    figures = optional("matplotlib.figure", "cli")
    columns = ([] if panel.base is None else [panel.base]) + [panel.explanation.attributions]
    layout = panel.explanation.layout
    values = [reduce(each, "sum", layout).detach().float().cpu() for each in columns]
    places = values[0].shape[1]
    if panel.features is not None and len(panel.features) != places:
        raise SurefootError(f"there are {len(panel.features)} feature names for {places} places")
    wide = min(12.0, max(4.5, 1.0 + 0.16 * places))
    figure: Figure = figures.Figure(
        figsize=(wide * len(values), 1.55 * panel.rows + 0.9), layout="constrained"
    )
    axes = figure.subplots(panel.rows, len(values), squeeze=False, sharex=True)
    for row in range(panel.rows):
        for axis, value in zip(axes[row], values, strict=True):
            _draw(axis, value[row])
        title = " · ".join(filter(None, [panel.title(row), panel.name(row)]))
        axes[row, 0].set_title(title, fontsize=8.5, color=INK, loc="left", fontweight="bold")
    _head(axes, panel)
    for axis in axes[-1]:
        _ticks(axis, panel)
    return figure


def _draw(axis: "Axes", values: Tensor) -> None:
    colours = [POSITIVE if value > 0 else NEGATIVE for value in values]
    axis.bar(range(len(values)), values.tolist(), color=colours, width=0.8)
    axis.axhline(0, color=INK, linewidth=0.6)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(labelsize=7, colors=GREY, length=2)
    axis.margins(x=0.01)


def _head(axes: Any, panel: Panel) -> None:
    base, whole = panel.heading()
    heads = [*([] if panel.base is None else [base]), whole]
    for axis, text in zip(axes[0], heads, strict=True):
        axis.set_title(text, fontsize=8, color=GREY, loc="right")
    for axis in axes[:, 0]:
        axis.set_ylabel("attribution", fontsize=7, color=GREY)


def _ticks(axis: "Axes", panel: Panel) -> None:
    if panel.features is None:
        ticker = optional("matplotlib.ticker", "cli")
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        kind = "token" if panel.explanation.inputs.ndim == 3 else "feature"
        axis.set_xlabel(kind, fontsize=7, color=GREY)
        return
    step = -(-len(panel.features) // _MOST_TICKS)
    places = range(0, len(panel.features), step)
    turned = sum(map(len, panel.features)) > 2 * len(panel.features)
    axis.set_xticks(
        list(places),
        [panel.features[place] for place in places],
        rotation=60 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor",
    )
