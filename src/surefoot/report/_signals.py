"""Signals as a line over the colours of their map, channel by channel."""

from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.errors import optional
from surefoot.report import _words
from surefoot.report._canvas import (
    LINE,
    MARGIN,
    Line,
    bold_line,
    caption_height,
    caption_lines,
    scale_beside,
    write_caption,
)
from surefoot.report._look import GREY, INK
from surefoot.report._panel import Column, Panel
from surefoot.report._shades import Array, Shades, has_signs
from surefoot.report._text import drawable, families, fitted, inches

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

_WIDE, _HIGH, _MOST, _BINS = 6.4, 0.55, 12, 800


def draw_signals(panel: Panel) -> "Picture":
    """The figure of signals (N, C, L)."""
    kind = panel.look.type
    wide = kind.wide or _WIDE
    lines = _caption(panel, wide)
    shown = [_channels(panel, row) for row in range(panel.rows)]
    names = 0.1 + max(
        inches(fitted(_name(panel, row, c), 1.2, kind.text), kind.text)
        for row, channels in enumerate(shown)
        for c in channels
    )
    head = 1.7 * kind.title * LINE
    foot = 1.7 * kind.text * LINE
    bar = 3.0 * kind.text * LINE + 0.1
    blocks = len(panel.columns())
    rows = sum(blocks * (len(channels) * _HIGH + head + foot) for channels in shown)
    figure = panel.make(wide, rows + bar + caption_height(lines) + 2 * MARGIN)
    top = figure.get_size_inches()[1] - MARGIN
    for row, channels in enumerate(shown):
        for column, title in zip(panel.columns(), _titles(panel, row), strict=True):
            bold_line(figure, title, top, panel.look)
            top -= head
            for channel in channels:
                place = (MARGIN + names, top - _HIGH, wide - names - 2 * MARGIN, 0.9 * _HIGH)
                last = channel == channels[-1]
                _channel(figure, place, panel, column, (row, channel), last=last)
                top -= _HIGH
            top -= foot
    colours, scale = _colours(panel), _scale(panel, 0, panel.columns()[-1], shown=True)
    scale_beside(figure, (MARGIN + names, top), scale, colours, panel.look, _unit(panel))
    write_caption(figure, lines)
    return figure


def _titles(panel: Panel, row: int) -> list[str]:
    """What stands above each map of a sample."""
    first, *more = [column.head for column in panel.columns()]
    return [" · ".join(filter(None, [panel.headline(row), first])), *more]


def _signs(panel: Panel) -> bool:
    return any(has_signs(column.values) for column in panel.columns())


def _colours(panel: Panel) -> str:
    return panel.look.signed_colours if _signs(panel) else panel.look.colours


def _unit(panel: Panel) -> str:
    if _signs(panel):
        return _words.unit("signed", panel.look).partition(",")[0]
    return "|attribution|"


def _scale(panel: Panel, row: int, column: Column, *, shown: bool = False) -> Shades:
    """The scale of one sample's channels, -1 or 0 to 1 where it is shown."""
    rows = slice(None) if panel.look.scale == "shared" else slice(row, row + 1)
    sizes = column.values[rows].detach().abs().double().cpu().numpy()
    cap = float(np.quantile(sizes, panel.look.percentile / 100)) or float(sizes.max()) or 1.0
    high = 1.0 if shown and panel.look.scale == "each" else cap
    caps = np.array([cap], np.float32)
    return Shades(np.zeros(1, np.float32), -high if _signs(panel) else 0, high, caps)


def _channels(panel: Panel, row: int) -> list[int]:
    """The channels shown: all, or those with the largest maps."""
    sizes = panel.explanation.attributions[row].detach().abs().sum(1)
    return sorted(sizes.argsort(descending=True)[:_MOST].tolist())


def _name(panel: Panel, row: int, channel: int) -> str:
    names = panel.places(row)
    return drawable(names[channel]) if names else f"channel {channel + 1}"


def _channel(
    figure: "Picture",
    place: tuple[float, float, float, float],
    panel: Panel,
    column: Column,
    which: tuple[int, int],
    *,
    last: bool,
) -> None:
    wide, high = figure.get_size_inches()
    left, bottom, across, up = place
    axis: Any = figure.add_axes((left / wide, bottom / high, across / wide, up / high))
    row, channel = which
    scale = _scale(panel, row, column)
    line, weights = (
        each[row, channel].detach().float().cpu().numpy() for each in (column.inputs, column.values)
    )
    low, top = float(line.min()), float(line.max())
    room = 0.08 * (top - low) or 1.0
    extent = (-0.5, len(line) - 0.5, low - room, top + room)
    axis.imshow(
        strongest(weights)[None],
        extent=extent,
        aspect="auto",
        cmap=_colours(panel),
        vmin=scale.low,
        vmax=scale.high,
        interpolation="nearest",
        alpha=0.9,
    )
    axis.plot(line, color=INK if _signs(panel) else "white", linewidth=0.7)
    axis.set(xlim=extent[:2], ylim=extent[2:], yticks=[])
    kind = panel.look.type
    name = fitted(_name(panel, row, channel), 1.2, kind.text)
    style = {"fontsize": kind.text, "rotation": 0, "ha": "right", "va": "center", "color": INK}
    axis.set_ylabel(name, parse_math=False, family=families([name]), labelpad=4, **style)
    axis.spines[:].set_visible(False)
    axis.tick_params(labelsize=kind.text, colors=GREY, length=2, pad=1, labelbottom=last)
    _ticks(axis, len(line) if last else 0)


def _ticks(axis: Any, length: int) -> None:
    """Numbers of samples, which stay inside the axis at its ends."""
    locator = optional("matplotlib.ticker", "cli").MaxNLocator(8, integer=True)
    shown = [at for at in locator.tick_values(0, length - 1) if 0 <= at < length]
    axis.set_xticks(shown)
    texts = axis.get_xticklabels()
    for text in texts[:1]:
        text.set(ha="left")
    for text in texts[1:][-1:]:
        text.set(ha="right")


def strongest(weights: Array) -> Array:
    """At most 800 numbers, each the one of its stretch with the largest size: no peak is lost."""
    if len(weights) <= _BINS:
        return weights
    parts = np.array_split(weights, _BINS)
    return np.array([part[np.abs(part).argmax()] for part in parts], weights.dtype)


def _caption(panel: Panel, wide: float) -> list[Line]:
    said, own = [], panel.columns()
    if panel.look.scale == "each":
        most = [_scale(panel, row, each).caps[0] for row in range(panel.rows) for each in own]
        said.append(f"1 is an attribution of {', '.join(f'{each:.2g}' for each in most[:6])}")
    channels, length = panel.explanation.inputs.shape[1:]
    if channels > _MOST:
        said.append(f"the {_MOST} of {channels} channels with the largest maps")
    if length > _BINS:
        said.append("each stretch of colour is its largest value")
    return caption_lines(panel.look, wide, *_words.caption(panel, [], said))
