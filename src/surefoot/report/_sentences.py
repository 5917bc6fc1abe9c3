"""Sentences as coloured words: pieces joined, special tokens grey and left out of the scale."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from surefoot.errors import optional
from surefoot.report import _words
from surefoot.report._canvas import (
    LINE,
    MARGIN,
    bold_line,
    caption_height,
    caption_lines,
    scale_beside,
    write,
    write_caption,
)
from surefoot.report._look import INK
from surefoot.report._panel import Panel
from surefoot.report._pieces import Word, reach, sentence
from surefoot.report._shades import ends
from surefoot.report._text import drawable, fitted, inches

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

_WIDE = 6.4  # inches of a line of words
_GREY = "#e4e4e4"


def colour(word: Word, most: float, colours: str) -> tuple[str, str]:
    """Background and ink of a word, as a page writes them."""
    if word.special:
        return _GREY, "#777777"
    mapped = optional("matplotlib", "cli").colormaps[colours](0.5 + 0.5 * word.value / most)
    light = float(np.dot(mapped[:3], (0.299, 0.587, 0.114)))
    code = "#" + "".join(f"{round(255 * part):02x}" for part in mapped[:3])
    return code, "#ffffff" if light < 0.5 else INK


def draw_sentences(panel: Panel) -> "Picture":
    """The figure of tokens (N, T, D) whose words are given as features."""
    kind = panel.look.type
    wide = kind.wide or _WIDE + 2 * MARGIN
    size = kind.title + 1
    lines = caption_lines(panel.look, wide, *_told(panel))
    blocks = _blocks(panel, wide - 2 * MARGIN, size)
    step = 1.75 * size * LINE
    bar = 3.2 * kind.text * LINE + 0.1
    rows = sum(len(flow) * step + 1.5 * kind.title * LINE + 0.1 for _, flow in blocks)
    figure = panel.make(wide, rows + bar + caption_height(lines) + 2 * MARGIN)
    top = figure.get_size_inches()[1] - MARGIN
    for text, flow in blocks:
        bold_line(figure, text, top, panel.look)
        top -= 1.7 * kind.title * LINE
        for words in flow:
            _line(figure, words, top, size)
            top -= step
        top -= 0.1 - 0.2 * kind.title * LINE
    text = _words.unit("signed", panel.look).partition(",")[0]
    scale_beside(figure, (MARGIN, top), ends(-1, 1), panel.look.signed_colours, panel.look, text)
    write_caption(figure, lines)
    return figure


@dataclass(frozen=True)
class _Box:
    """A word in its place: `left` in inches, its colours, and what is written."""

    left: float
    text: str
    back: str
    ink: str


def _blocks(panel: Panel, wide: float, size: float) -> list[tuple[str, list[list[_Box]]]]:
    """Each sample's title and lines of words, of each of its maps."""
    blocks = []
    for row in range(panel.rows):
        columns = panel.columns()
        for number, column in enumerate(columns):
            flow = _flow(sentence(panel, row, column.values), wide, size, panel)
            told = [] if number else [panel.headline(row)]
            told += [column.head] if len(columns) > 1 else []
            blocks.append((" · ".join(told), flow))
    return blocks


def _flow(words: list[Word], wide: float, size: float, panel: Panel) -> list[list[_Box]]:
    lines: list[list[_Box]] = [[]]
    most, left, gap = reach(words), 0.0, 0.075 * size / 9
    for word in words:
        text = fitted(drawable(word.text), wide, size)
        across = inches(text, size)
        if left + across > wide and lines[-1]:
            lines.append([])
            left = 0.0
        lines[-1].append(_Box(left, text, *colour(word, most, panel.look.signed_colours)))
        left += across + 1.9 * gap
    return lines


def _line(figure: "Picture", words: list[_Box], top: float, size: float) -> None:
    for word in words:
        box = {"boxstyle": "square,pad=0.12", "facecolor": word.back, "edgecolor": "none"}
        place = (MARGIN + 0.03 + word.left, top)
        write(figure, word.text, place, fontsize=size, color=word.ink, bbox=box)


def _told(panel: Panel) -> tuple[str, str]:
    recipe, _ = _words.caption(panel, [])
    most = [
        reach(sentence(panel, row, panel.explanation.attributions)) for row in range(panel.rows)
    ]
    shown = ", ".join(f"{each:.2g}" for each in most[:6])
    said = [
        "Words: the sum of their pieces and of the embedding, each sentence by itself",
        f"1 is an attribution of {shown}",
        "grey: tokens of the model's own, left out of the scale",
    ]
    return recipe, _words.sentence([*said, *_words.last(panel)])
