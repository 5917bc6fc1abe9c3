"""Sentences as coloured words: pieces joined, special tokens grey and left out of the scale."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from surefoot import maps
from surefoot.errors import optional
from surefoot.report import _words
from surefoot.report._canvas import (
    LINE,
    MARGIN,
    caption_height,
    caption_lines,
    colour_bar,
    new_figure,
    write,
    write_caption,
)
from surefoot.report._look import GREY, INK
from surefoot.report._panel import Panel
from surefoot.report._shades import ends
from surefoot.report._text import drawable, fitted, inches

if TYPE_CHECKING:
    from torch import Tensor

    from surefoot.report._figure import Picture

_WIDE = 6.4  # inches of a line of words
_SPECIAL = re.compile(
    r"^(\[(CLS|SEP|PAD|MASK|UNK|BOS|EOS)\]|</?s>|<(pad|unk|mask|bos|eos)>|<\|.*\|>)$"
)
_PAD = re.compile(r"^(\[PAD\]|<pad>)$")
_BEGINS = ("\u0120", "\u2581")  # how byte-level and sentence pieces mark the start of a word
_GREY = "#e4e4e4"


@dataclass(frozen=True)
class Word:
    """A word with the sum of its pieces' attributions.

    Attributes:
        text: of its pieces, joined.
        value: attribution, unscaled.
        special: a token of the model's own, such as [CLS].
    """

    text: str
    value: float
    special: bool = False


def join_pieces(tokens: Sequence[str], values: Sequence[float]) -> list[Word]:
    """Words of word pieces: their texts joined, their values summed; padding is left out.

    Knows the marks of WordPiece ("##ing"), byte-level BPE and SentencePiece.

    >>> [(word.text, word.value) for word in join_pieces(["[CLS]", "run", "##ning"], [5, 1, 2])]
    [('[CLS]', 5.0), ('running', 3.0)]
    """
    marked = any(token.startswith(_BEGINS) for token in tokens)
    words: list[Word] = []
    for token, value in zip(tokens, values, strict=False):
        if _PAD.match(token):
            continue
        special = bool(_SPECIAL.match(token))
        goes_on = token.startswith("##") or (marked and not token.startswith(_BEGINS))
        text = token.removeprefix("##").lstrip("".join(_BEGINS)) or token
        if goes_on and not special and words and not words[-1].special:
            last = words.pop()
            words.append(Word(last.text + text, last.value + float(value)))
        else:
            words.append(Word(text, float(value), special))
    return words


def sentence(panel: Panel, row: int, attributions: "Tensor") -> list[Word]:
    """The words of a sample."""
    values = maps.reduce(attributions[row : row + 1].detach(), "sum", "tokens")[0].tolist()
    return join_pieces(panel.places(row) or [], values)


def reach(words: Sequence[Word]) -> float:
    """The largest absolute value of words that are none of the model's own."""
    return max((abs(word.value) for word in words if not word.special), default=0.0) or 1.0


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
    figure = new_figure(wide, rows + bar + caption_height(lines) + 2 * MARGIN)
    top = figure.get_size_inches()[1] - MARGIN
    for text, flow in blocks:
        shown = fitted(drawable(text), wide - 2 * MARGIN, kind.title, bold=True)
        write(figure, shown, (MARGIN, top), fontsize=kind.title, color=INK, fontweight="bold")
        top -= 1.7 * kind.title * LINE
        for words in flow:
            _line(figure, words, top, size)
            top -= step
        top -= 0.1 - 0.2 * kind.title * LINE
    _bar(figure, panel, top)
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
    """Each sample's title and lines of words; of the base explainer before, where it is given."""
    base, whole = panel.heading()
    blocks = []
    for row in range(panel.rows):
        title = " · ".join(filter(None, [panel.title(row), panel.below(row)]))
        if panel.base is not None:
            flow = _flow(sentence(panel, row, panel.base), wide, size, panel)
            blocks.append((f"{title} · {base}", flow))
            title = whole
        words = sentence(panel, row, panel.explanation.attributions)
        blocks.append((title, _flow(words, wide, size, panel)))
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


def _bar(figure: "Picture", panel: Panel, top: float) -> None:
    across = min(2.4, figure.get_size_inches()[0] / 2)
    colour_bar(figure, (MARGIN, top, across), ends(-1, 1), panel.look.signed_colours, panel.look)
    text = _words.unit("signed", panel.look).partition(",")[0]
    size = panel.look.type.text
    write(figure, text, (MARGIN + across + 0.12, top), fontsize=size, color=GREY)


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
    if panel.explanation.model:
        said.append(f"model: {panel.explanation.model}")
    return recipe, "; ".join(said) + "."
