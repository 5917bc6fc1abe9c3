"""Text by its embeddings: what embeds the tokens gives way to them, and the tokens stay known.

A network reads more from its tokens than their embeddings: padding, positions, the last token, the
end of the text. So the tokens go into it as they are, and only what embeds them is replaced: in
every call that embeds a whole text, in whatever order the network has put its tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.models._tokens import Tokens, numbers_of, placed

_ATTRIBUTE = "_surefoot_tokens"
_ROWS = 4096  # of a table that are looked at together


def remember(embeddings: Tensor, tokens: Tensor) -> Tensor:
    """The embeddings, which know their tokens as long as they are this very tensor."""
    setattr(embeddings, _ATTRIBUTE, tokens)
    return embeddings


def tokens_of(embeddings: Tensor, embedder: nn.Module) -> Tensor | None:
    """The tokens (N, T) of embeddings (N, T, D) that nobody has moved; None if they are not known.

    Other tensors than the one `remember` saw, such as parts of it, are looked up in the table.
    """
    known = getattr(embeddings, _ATTRIBUTE, None)
    if isinstance(known, Tensor) and known.shape == embeddings.shape[:2]:
        return known.to(embeddings.device)
    with torch.no_grad():
        table = _table(embedder, embeddings)
        return None if table is None else _looked_up(embeddings.detach(), table)


def _table(embedder: nn.Module, embeddings: Tensor) -> Tensor | None:
    """All embeddings (V, D), where the module is such a table."""
    size = getattr(embedder, "num_embeddings", None)
    if not isinstance(embedder, nn.Embedding) or not isinstance(size, int):
        return None
    every = embedder.forward(torch.arange(size, device=embeddings.device))
    fits = every.shape == (size, embeddings.shape[-1]) and every.dtype == embeddings.dtype
    return every if fits else None


def _looked_up(embeddings: Tensor, table: Tensor) -> Tensor | None:
    """The rows of the table that are equal to each embedding; None if one has no or two such."""
    rows = embeddings.flatten(0, 1)
    keys, order = _keys(table).sort()
    place = torch.searchsorted(keys, _keys(rows))
    found = torch.full_like(place, -1)
    twice = torch.zeros_like(place, dtype=torch.bool)
    # The sums may differ in their last digits, so the neighbours are looked at, too.
    for shift in (-2, -1, 0, 1):
        number = order[(place + shift).clamp(0, len(keys) - 1)]
        same = (table[number] == rows).all(1)
        twice |= same & (found >= 0) & (found != number)
        found = torch.where(same, number, found)
    if (found < 0).any() or twice.any():
        return None
    return found.view(embeddings.shape[:2])


def _keys(rows: Tensor) -> Tensor:
    """A number for each row (R, D), the same for equal ones up to rounding; (R,) float64."""
    source = torch.Generator().manual_seed(0)
    way = torch.randn(rows.shape[1], generator=source, dtype=torch.float64).to(rows.device)
    return torch.cat([rows[i : i + _ROWS].double() @ way for i in range(0, len(rows), _ROWS)])


@dataclass
class Embedded:
    """Texts on their way through a network.

    Attributes:
        tokens: of each text, which know their places; the network gets these.
        embeddings: of each text, (N, T, D).
        ends: where the places of each text end, all texts counted through.
        given: how many of each text's places have been embedded so far.
        alone: whether a call counts only if it embeds a whole text.
        copies: whether tokens of the same numbers are a text, where they know no places.
    """

    tokens: list[Tokens]
    embeddings: Sequence[Tensor]
    ends: list[int]
    alone: bool
    copies: bool
    given: list[bool] = field(default_factory=list)

    def instead(self, places: Tensor, output: Tensor) -> Tensor | None:
        """The embeddings at these places; None if there are none, or the output has no such shape.

        What is at no place of a text, such as a token that the network has put in front, keeps the
        embedding that came.
        """
        width = self.embeddings[0].shape[-1]
        if output.shape[-1:] != (width,) or output.numel() != places.numel() * width:
            return None
        flat, start, texts = places.reshape(-1), 0, []
        for number, end in enumerate(self.ends):
            here = flat[(flat >= start) & (flat < end)]
            whole = bool((torch.bincount(here - start, minlength=end - start) > 0).all())
            if len(here) and (whole or not self.alone):
                texts.append((number, start, end))
            start = end
        for number, start, end in texts:
            self.given[number] = True
            if len(flat) == end - start and torch.equal(flat, torch.arange(start, end).to(flat)):
                # A copy: what the network does to it in place is not done to the text.
                return self.embeddings[number].view(output.shape).clone()
        return self._mixed(flat, output, texts) if texts else None

    def _mixed(self, flat: Tensor, output: Tensor, texts: Sequence[tuple[int, int, int]]) -> Tensor:
        rows = output.reshape(len(flat), -1)
        for number, start, end in texts:
            here = (flat >= start) & (flat < end)
            table = self.embeddings[number].flatten(0, 1)
            found = table[torch.where(here, flat - start, 0)].to(rows.dtype)
            rows = torch.where(here[:, None], found, rows)
        return rows.view(output.shape)

    def recognised(self, read: Tensor) -> Tensor | None:
        """The places of tokens that know none, but are a text's numbers."""
        start = 0
        for tokens, end in zip(self.tokens, self.ends, strict=True):
            numbers = numbers_of(tokens)
            alike = not read.is_floating_point() and read.numel() == numbers.numel()
            if alike and torch.equal(read.reshape(-1).to(numbers), numbers.reshape(-1)):
                return torch.arange(start, end, device=read.device).view(read.shape)
            start = end
        return None


@contextmanager
def replaced(
    embedders: Sequence[nn.Module],
    tokens: Sequence[Tensor | None],
    embeddings: Sequence[Tensor],
    *,
    alone: bool,
    copies: bool,
) -> Iterator[Embedded]:
    """While it lasts, embedders give `embeddings[i]` (N, T, D) where they get the i-th text.

    A call with other tokens, such as a decoder's or another text's, is left as it is.

    Args:
        embedders: the modules that look tokens up in the table.
        tokens: of each text, (N, T); None if they are not known.
        embeddings: of each text.
        alone: see `Embedded`.
        copies: see `Embedded`.

    Yields:
        What to give to the network, and which of the embeddings were given.
    """
    texts = Embedded(*placed(tokens, embeddings), alone, copies, [False] * len(tokens))
    calls: list[Tensor | None] = []

    def before(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        read = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        known = [a.places for a in read if isinstance(a, Tokens)]
        if not known and texts.copies:
            known = [p for p in map(texts.recognised, read) if p is not None]
        calls.append(known[0] if known else None)
        return (
            tuple(map(numbers_of, args)),
            {name: numbers_of(value) for name, value in kwargs.items()},
        )

    def after(_module: nn.Module, _args: Any, output: object) -> Any:
        places = calls.pop()
        if places is None or not isinstance(output, Tensor):
            return None
        return texts.instead(places, output)

    handles = []
    try:
        for embedder in embedders:
            handles.append(embedder.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(embedder.register_forward_hook(after))
        yield texts
    finally:
        for handle in handles:
            handle.remove()


def tied(module: nn.Module, embedder: nn.Module) -> list[nn.Module]:
    """The embedder, and what looks tokens up in its very table in the same way.

    An encoder and a decoder may each have a module of their own around one table.
    """
    table, same = getattr(embedder, "weight", None), [embedder]
    if not isinstance(embedder, nn.Embedding):
        return same
    for other in module.modules():
        if isinstance(other, nn.Embedding) and other is not embedder and other.weight is table:
            two = torch.arange(min(2, len(other.weight)), device=other.weight.device)
            with torch.no_grad():
                # Not by calling them, lest hooks of others count this as a pass.
                if torch.equal(other.forward(two), embedder.forward(two)):
                    same.append(other)
    return same
