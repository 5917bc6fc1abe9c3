"""Names and recipes as a picture, a page or a terminal can show them: never cut, never a crash."""

import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from surefoot.errors import optional

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # both come with matplotlib
_SLACK = 1.03  # few dots an inch make letters wider than they are measured
_SPACE = {" ": " ", "\t": " ", "\xa0": " "}


def printable(text: str) -> str:
    r"""The text on one line, with characters that cannot be written as escapes.

    Line breaks, control characters, and the bytes of a file name that are no UTF-8 are escaped.

    >>> printable("a\nb\udcff.png")
    'a\\nb\\xff.png'
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in _SPACE:
        return _SPACE[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp"):
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character


def middle(text: str, wide: int, size: Callable[[str], float] = len) -> str:
    """The text, or its beginning and end around an ellipsis, so that it is at most so wide.

    >>> middle("a_very_long_name_of_a_photograph.png", 16)
    'a_very_l…aph.png'
    """
    return _shortened(text, wide, size)


def _shortened(text: str, wide: float, size: Callable[[str], float]) -> str:
    if size(text) <= wide:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if size(_around(text, kept)) <= wide else (low, kept - 1)
    return _around(text, low)


def _around(text: str, kept: int) -> str:
    """So many characters of the text, one more of its beginning than of its end."""
    end = kept // 2
    return f"{text[: kept - end].rstrip()}…{text[len(text) - end :].lstrip()}" if kept else "…"


def inches(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """How wide a line of text is, in inches, at a size in points."""
    return _SLACK * _points(text, round(size, 3), bold, mono) / 72


def fitted(text: str, wide: float, size: float, *, bold: bool = False, mono: bool = False) -> str:
    """The text shortened in the middle to a width in inches."""
    return _shortened(text, wide, lambda part: inches(part, size, bold=bold, mono=mono))


def wrapped(text: str, wide: float, size: float, *, mono: bool = False) -> list[str]:
    """The text in lines of at most so many inches, broken at spaces, else anywhere."""
    lines: list[str] = []
    for line in text.split("\n"):
        average = max(inches(line, size, mono=mono) / max(len(line), 1), 1e-3)
        count = max(int(wide / average), 8)
        while True:
            parts = textwrap.wrap(line, count, break_on_hyphens=False) or [""]
            if count <= 8 or all(inches(part, size, mono=mono) <= wide for part in parts):
                break
            count -= 1
        lines += parts
    return lines


def families(texts: Sequence[str], *, mono: bool = False) -> list[str]:
    """The fonts that have all these characters between them, the house's own first."""
    first = MONO if mono else SANS
    more = {_font(c, first) for text in texts for c in set(text)} - {None, first}
    return [first, *sorted(name for name in more if name)]


def drawable(text: str) -> str:
    r"""The text as fonts of this machine can draw it: what none of them has becomes an escape.

    >>> drawable("a\x07b")
    'a\\x07b'
    """
    return "".join(
        c if _font(c, SANS) else c.encode("unicode_escape", "surrogatepass").decode()
        for c in printable(text)
    )


@lru_cache(maxsize=4096)
def _points(text: str, size: float, bold: bool, mono: bool) -> float:
    manager = optional("matplotlib.font_manager", "cli")
    properties = manager.FontProperties(
        family=families([text], mono=mono), size=size, weight="bold" if bold else "normal"
    )
    # Twelve times as large as at 72 dots an inch, for widths that hinting does not round.
    return float(_renderer().get_text_width_height_descent(text, properties, False)[0]) / 12


@lru_cache(maxsize=1)
def _renderer() -> Any:
    return optional("matplotlib.backends.backend_agg", "cli").RendererAgg(8, 8, 72 * 12)


@lru_cache(maxsize=4096)
def _font(character: str, first: str) -> str | None:
    """The name of a font that has the character: `first`, else any; None if there is none."""
    code = ord(character)
    if code in _characters(first):
        return first
    return next((name for name in sorted(_files()) if code in _characters(name)), None)


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """The files of the installed fonts by name, but of those whose letters are elsewhere."""
    manager = optional("matplotlib.font_manager", "cli")
    unfit = ("cm", "STIX", "Last Resort")
    fonts = [font for font in manager.fontManager.ttflist if not font.name.startswith(unfit)]
    return {font.name: font.fname for font in sorted(fonts, key=lambda f: f.name, reverse=True)}


@lru_cache(maxsize=256)
def _characters(name: str) -> frozenset[int]:
    manager = optional("matplotlib.font_manager", "cli")
    try:
        return frozenset(manager.get_font(_files()[name]).get_charmap())
    except (KeyError, OSError, RuntimeError):
        return frozenset()
