"""Records as bars: the fields that weigh most, with their names and values, from the top."""

from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot import maps
from surefoot.report import _words
from surefoot.report._canvas import (
    LINE,
    MARGIN,
    Line,
    bold_line,
    caption_height,
    caption_lines,
    write,
    write_caption,
)
from surefoot.report._look import GREY, INK, NEGATIVE, POSITIVE
from surefoot.report._panel import Panel
from surefoot.report._shades import Array
from surefoot.report._text import drawable, families, fitted, inches

if TYPE_CHECKING:
    from torch import Tensor

    from surefoot.report._figure import Picture

MOST = 15  # bars of a sample; a page has them all in a table
_NAMES, _CHANGES, _PLOT = 1.75, 2.1, 2.6  # inches


def ordered(panel: Panel, row: int) -> tuple[list[str], Array]:
    """The fields of a sample as `name = value`, and their attributions, the largest first."""
    values = attributions(panel, panel.explanation.attributions)[row]
    order = np.argsort(-np.abs(values), kind="stable")
    texts = labels(panel, row)
    return [texts[place] for place in order], values[order]


def labels(panel: Panel, row: int) -> list[str]:
    """The names of a sample's places, with the values that fields have."""
    inputs, names = panel.explanation.inputs[row], panel.places(row)
    if inputs.ndim > 1:  # embedded tokens without words
        return [f"token {place}" for place in range(len(inputs))]
    told = names or [f"feature {place}" for place in range(len(inputs))]
    values = [f"{value:.3g}" for value in inputs.tolist()]
    if panel.after is not None:
        moved = [f"{value:.3g}" for value in panel.after.inputs[row].tolist()]
        pairs = zip(values, moved, strict=True)
        values = [a if a == b else f"{a} → {b}" for a, b in pairs]
    return [f"{name} = {value}" for name, value in zip(told, values, strict=True)]


def attributions(panel: Panel, values: "Tensor") -> Array:
    """One signed number a place, (N, places)."""
    summed = maps.reduce(values.detach(), "sum", panel.layout)
    result: Array = summed.float().cpu().numpy()
    return result


def draw_records(panel: Panel) -> "Picture":
    """The figure of records (N, F), or of tokens (N, T, D) whose words are not known."""
    columns = panel.columns()
    values = [attributions(panel, column.values) for column in columns]
    shown = min(MOST, values[0].shape[1])
    left_out = values[0].shape[1] - shown
    kind = panel.look.type
    names = _room(panel, shown)
    wide = kind.wide or names + len(values) * (_PLOT + 0.35) + 2 * MARGIN
    lines = _caption(panel, wide, left_out)
    step = 1.5 * kind.text * LINE
    block = shown * step + (2.2 * kind.text + 1.3 * kind.title) * LINE + 0.12
    head = kind.title * LINE if len(values) > 1 else 0.0
    high = panel.rows * block + head + caption_height(lines) + 2 * MARGIN
    figure = panel.make(wide, high)
    plot = (wide - names - 2 * MARGIN) / len(values) - 0.3
    for row in range(panel.rows):
        top = high - MARGIN - head - row * block
        method = columns[0].head if len(columns) == 1 else ""
        bold_line(figure, " · ".join(filter(None, [panel.headline(row), method])), top, panel.look)
        for column, each in enumerate(values):
            left = MARGIN + names + column * (plot + 0.3) + 0.05
            place = (left, top - 1.3 * kind.title * LINE - shown * step, plot, shown * step)
            axis = _axis(figure, place)
            _bars(axis, panel, row, each[row], (shown, plot), labelled=not column)
    if head:
        _heads(figure, panel, names, plot, high)
    write_caption(figure, lines)
    return figure


def _room(panel: Panel, shown: int) -> float:
    """The width of the longest name, in inches, up to a limit."""
    size = panel.look.type.text
    rows = range(panel.rows)
    found = [_shortened(text, panel) for row in rows for text in ordered(panel, row)[0][:shown]]
    return max(inches(text, size) for text in found) + 0.12


def _shortened(text: str, panel: Panel) -> str:
    """A field's `name = value` in the room there is: the name gives way, the value does not."""
    name, equals, value = drawable(text).rpartition(" = ")
    size, limit = panel.look.type.text, _NAMES if panel.after is None else _CHANGES
    room = max(limit - inches(equals + value, size), limit / 4)
    return fitted(name, room, size) + equals + value if equals else fitted(value, limit, size)


def _axis(figure: "Picture", place: tuple[float, float, float, float]) -> Any:
    wide, high = figure.get_size_inches()
    left, bottom, across, up = place
    return figure.add_axes((left / wide, bottom / high, across / wide, up / high))


def _bars(
    axis: Any,
    panel: Panel,
    row: int,
    values: Array,
    size: tuple[int, float],
    *,
    labelled: bool,
) -> None:
    shown, plot = size
    order = np.argsort(-np.abs(attributions(panel, panel.explanation.attributions)[row]))[:shown]
    kind, places = panel.look.type, range(shown)
    chosen = values[order]
    colours = [POSITIVE if value > 0 else NEGATIVE for value in chosen]
    axis.barh(places, chosen, color=colours, height=0.72)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_ylim(shown - 0.5, -0.5)
    low, high = min(0.0, float(chosen.min())), max(0.0, float(chosen.max()))
    said = max(inches(f"{value:+.2g}", kind.text) for value in chosen) + 0.06
    room = ((high - low) or 1.0) * said / max(plot - 2 * said, 0.1)
    axis.set_xlim(low - room * (low < 0), high + room)
    for place, value in zip(places, chosen, strict=True):
        side, off = ("right", -2) if value < 0 else ("left", 2)
        style = {"ha": side, "va": "center", "fontsize": kind.text - 0.5, "color": GREY}
        axis.annotate(
            f"{value:+.2g}", (value, place), (off, 0), textcoords="offset points", **style
        )
    texts = [_shortened(text, panel) for text in ordered(panel, row)[0][:shown]]
    axis.set_yticks(places, texts if labelled else [], parse_math=False, family=families(texts))
    axis.tick_params(axis="y", labelsize=kind.text, colors=INK, length=0, pad=3)
    axis.set_xticks([0], ["0"])
    axis.tick_params(axis="x", labelsize=kind.text - 0.5, colors=GREY, length=2, pad=1)
    axis.spines[["top", "right", "bottom", "left"]].set_visible(False)


def _heads(figure: "Picture", panel: Panel, names: float, plot: float, high: float) -> None:
    kind = panel.look.type
    for number, column in enumerate(panel.columns()):
        left = MARGIN + names + number * (plot + 0.3) + 0.05
        shown = fitted(drawable(column.head), plot, kind.title)
        write(figure, shown, (left, high - MARGIN / 2), fontsize=kind.title, color=GREY)


def _caption(panel: Panel, wide: float, left_out: int) -> list[Line]:
    recipe, _ = _words.caption(panel, [])
    said = ["Attributions, signed and unscaled, sorted by size: red for the class, blue against"]
    if left_out:
        rest = [float(ordered(panel, row)[1][MOST:].sum()) for row in range(panel.rows)]
        more = ", ".join(f"{value:+.2g}" for value in rest[:6])
        said.append(f"the other {left_out} sum to {more}{', ...' if len(rest) > 6 else ''}")
    told = _words.sentence([*said, *_words.last(panel)])
    return caption_lines(panel.look, wide, recipe, told)
