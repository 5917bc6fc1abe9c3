"""Words of word pieces: joined, their attributions summed, the model's own tokens told apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from surefoot import maps
from surefoot.report._panel import Panel

if TYPE_CHECKING:
    from torch import Tensor

_SPECIAL = re.compile(
    r"^(\[(CLS|SEP|PAD|MASK|UNK|BOS|EOS)\]|</?s>|<(pad|unk|mask|bos|eos)>|<\|.*\|>)$"
)
_PAD = re.compile(r"^(\[PAD\]|<pad>)$")
_BYTES, _PIECES = "\u0120", "\u2581"  # how byte-level and sentence pieces mark a word's start
_BEGINS = (_BYTES, _PIECES)


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
    in_bytes = any(token.startswith(_BYTES) for token in tokens)
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
    return [replace(word, text=_decoded(word.text)) for word in words] if in_bytes else words


def _decoded(text: str) -> str:
    """Letters that stand for bytes, as byte-level tokenizers write them, as the text they are.

    >>> _decoded("caf\u00c3\u00a9"), _decoded("plain")
    ('café', 'plain')
    """
    table = _letters()
    if not all(letter in table for letter in text):
        return text
    return bytes(table[letter] for letter in text).decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _letters() -> dict[str, int]:
    """The byte of each letter: printable ones are their own, the others come from 256 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + n): b for n, b in enumerate(others)}


def sentence(panel: Panel, row: int, attributions: "Tensor") -> list[Word]:
    """The words of a sample, with their part of a map (N, T, D)."""
    values = maps.reduce(attributions[row : row + 1].detach(), "sum", "tokens")[0].tolist()
    return join_pieces(panel.places(row) or [], values)


def reach(words: Sequence[Word]) -> float:
    """The largest absolute value of words that are none of the model's own."""
    return max((abs(word.value) for word in words if not word.special), default=0.0) or 1.0


def heaviest(words: Sequence[Word], count: int = 3) -> list[str]:
    """The words of largest absolute value, the model's own tokens left out."""
    told = sorted((w for w in words if not w.special), key=lambda w: -abs(w.value))
    return [word.text for word in told[:count]]
