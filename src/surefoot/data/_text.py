"""Sentences as tokens: a tokeniser, a vocabulary, and data sets of sentences."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot.data._samples import Samples
from surefoot.errors import SurefootError

PADDING = 0
"""The token that fills sentences up to the length of the longest."""
UNKNOWN = 1
_SPECIAL = ("<pad>", "<unknown>")
# n't and 's are words of their own, as is each mark.
_WORD = re.compile(r"\w+?(?=n't\b)|n't\b|'(?:s|ve|re|d|ll|m)\b|\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class Sentences(Samples):
    """Sentences in memory as tokens (N, T), int64, with zeros after the end of each.

    Attributes:
        vocabulary: the words, in the order of the tokens; 0 is padding, 1 any other word.

    >>> words = make_vocabulary(["a fine film", "a bad film"])
    >>> tokens = encode(["a fine film"], words, length=4)
    >>> found = Sentences(tokens, torch.tensor([1]), ("bad", "good"), vocabulary=words)
    >>> found.words(0), found.encode(["a good film"])
    (['a', 'fine', 'film'], tensor([[2, 1, 3, 0]]))
    """

    vocabulary: tuple[str, ...] = _SPECIAL

    def words(self, number: int) -> list[str]:
        """The words of one sentence, as its tokens have them."""
        tokens: list[int] = self.stored[number].tolist()
        return [self.vocabulary[token] for token in tokens if token != PADDING]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Tokens (N, T) of new sentences, as long as the data set's own.

        Raises:
            SurefootError: given one text instead of several.
        """
        return encode(texts, self.vocabulary, self.stored.shape[1])


def tokenise(text: str) -> list[str]:
    """Words and marks in lower case.

    >>> tokenise("It isn't Kafka's best, is it?")
    ['it', 'is', "n't", 'kafka', "'s", 'best', ',', 'is', 'it', '?']
    """
    return _WORD.findall(text.lower())


def make_vocabulary(texts: Iterable[str], min_count: int = 1) -> tuple[str, ...]:
    """Padding, unknown, and every word that comes at least `min_count` times, frequent first.

    >>> make_vocabulary(["a film", "a bad film", "a bore"])
    ('<pad>', '<unknown>', 'a', 'film', 'bad', 'bore')
    """
    counts = Counter(word for text in texts for word in tokenise(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return (*_SPECIAL, *(word for word in words if counts[word] >= min_count))


def encode(texts: Sequence[str], vocabulary: Sequence[str], length: int) -> Tensor:
    """Tokens (N, length) of texts, cut off or padded with zeros at the end."""
    if isinstance(texts, str):
        raise SurefootError("texts is one string, expected a list of them: [text]")
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = torch.full((len(texts), length), PADDING)
    for row, text in zip(tokens, texts, strict=True):
        words = [numbers.get(word, UNKNOWN) for word in tokenise(text)[:length]]
        row[: len(words)] = torch.tensor(words, dtype=torch.int64)
    return tokens


def sentences(  # one place for what all sets of sentences share
    texts: Sequence[str],
    labels: Tensor,
    classes: tuple[str, ...],
    training: Sequence[str],
    *,
    length: int | None,
    min_count: int,
    name: str,
) -> Sentences:
    """The data set of `texts`, with the vocabulary and (by default) the length of `training`."""
    vocabulary = make_vocabulary(training, min_count)
    longest = length or max(len(tokenise(text)) for text in training)
    tokens = encode(texts, vocabulary, longest)
    return Sentences(tokens, labels, classes, bounds=None, name=name, vocabulary=vocabulary)
