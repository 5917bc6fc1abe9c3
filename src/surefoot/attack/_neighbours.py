"""Which words may stand for a word: from a list, or from the model's own embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from surefoot.errors import SurefootError
from surefoot.models import Classifier

_NONE = -1


@dataclass(frozen=True)
class Neighbours:
    """What may stand for each token.

    Attributes:
        known: (U,), the tokens that occur, sorted.
        near: (U, C), what may stand for each of them, -1 where there is no more.
    """

    known: Tensor
    near: Tensor

    def of(self, tokens: Tensor) -> Tensor:
        """What may stand for tokens (...), (..., C)."""
        place = torch.searchsorted(self.known, tokens).clamp_max(len(self.known) - 1)
        found = self.near[place]
        return torch.where((self.known[place] == tokens)[..., None], found, _NONE)

    def swappable(self, tokens: Tensor) -> Tensor:
        """Which tokens (N, T) have a neighbour, bool."""
        return (self.of(tokens) >= 0).any(-1)

    def tried(self, tokens: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (n, T) with each neighbour at the places (n,): (n, C, T), and which there are."""
        rows = torch.arange(len(tokens), device=tokens.device)
        near = self.of(tokens[rows, at])
        offered = near >= 0
        tried = tokens[:, None].expand(-1, near.shape[1], -1).clone()
        tried[rows, :, at] = torch.where(offered, near, tokens[rows, at][:, None])
        return tried, offered


def neighbours(
    model: Classifier,
    tokens: Tensor,
    *,
    count: int,
    synonyms: Mapping[int, tuple[int, ...]] | None,
    closeness: float,
    fixed: tuple[int, ...],
) -> Neighbours:
    """The neighbours of the tokens (N, T) that occur; see `SwapWords` for the settings."""
    table = model.module.get_submodule(model.embedding or "")
    size, padding = getattr(table, "num_embeddings", None), getattr(table, "padding_idx", None)
    held = {*fixed, *([] if padding is None else [padding])}
    known = torch.unique(tokens)
    if synonyms is not None:
        near = _listed(known, synonyms, held, count)
    elif isinstance(size, int):
        near = _nearest(model, known, size, held, count, closeness)
    else:
        raise SurefootError(
            f"{model.embedding!r} is no table of embeddings whose rows could be compared; give "
            "synonyms={token: (token, ...)}"
        )
    keep = torch.tensor([int(one) not in held for one in known], device=known.device)
    return Neighbours(known, torch.where(keep[:, None], near, _NONE))


def _listed(
    known: Tensor, synonyms: Mapping[int, tuple[int, ...]], held: set[int], count: int
) -> Tensor:
    near = torch.full((len(known), count), _NONE, dtype=torch.long)
    for row, token in enumerate(known.tolist()):
        each = [one for one in synonyms.get(token, ()) if one not in held and one != token][:count]
        near[row, : len(each)] = torch.tensor(each, dtype=torch.long)
    return near.to(known.device)


def _nearest(
    model: Classifier, known: Tensor, size: int, held: set[int], count: int, closeness: float
) -> Tensor:
    every = torch.arange(size, device=known.device)
    rows = normalize(model.embed(every[None])[0].float(), dim=1)
    alike = rows[known] @ rows.T
    alike[torch.arange(len(known)), known] = -torch.inf
    alike[:, [one for one in held if 0 <= one < size]] = -torch.inf
    most, near = alike.topk(min(count, size), 1)
    return torch.where(most >= closeness, near, _NONE)


def read_synonyms(path: str | Path, vocabulary: Mapping[str, int]) -> dict[int, tuple[int, ...]]:
    r"""What may stand for each token, from a file of groups of words that mean the same.

    Args:
        path: of a text file in UTF-8, a group a line, words apart by spaces, tabs or commas.
        vocabulary: the number of each word; words that it lacks are left out.

    Raises:
        SurefootError: the file cannot be read, or no group has two known words.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/words.txt").write_text("good fine decent\nbad, awful")
    ...     read_synonyms(f"{folder}/words.txt", {"good": 2, "fine": 3, "bad": 4})
    {2: (3,), 3: (2,)}
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise SurefootError(f"cannot read synonyms from {str(path)!r}: {error}") from error
    found: dict[int, dict[int, None]] = {}
    for line in lines:
        group = [vocabulary[word] for word in line.replace(",", " ").split() if word in vocabulary]
        for token in group:
            found.setdefault(token, {}).update(dict.fromkeys(g for g in group if g != token))
    result = {token: tuple(others) for token, others in found.items() if others}
    if not result:
        raise SurefootError(
            f"{str(path)!r} has no line with two words of the vocabulary; expected a group of "
            "synonyms a line, such as: good fine decent"
        )
    return result
