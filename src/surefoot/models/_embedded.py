"""Text by its embeddings: what embeds the tokens gives way to them, and the tokens stay known.

A network reads more from its tokens than their embeddings: padding, positions, the last token, the
end of the text. So the tokens go into it as they are, and only what embeds them is replaced.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.errors import SurefootError

Alike = Callable[[Tensor, Tensor], bool]

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


class Untold(Tensor):
    """Tokens that are not known: their shape may be asked for, their values may not."""

    @classmethod
    def of(cls, embeddings: Tensor) -> "Untold":
        """Placeholders (N, T) for the tokens of embeddings (N, T, D)."""
        shape, device = embeddings.shape[:2], embeddings.device
        return torch.zeros(shape, dtype=torch.long, device=device).as_subclass(cls)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Shapes and views go through; whatever would read a value raises."""
        name = getattr(func, "__name__", str(func))
        if name == "__get__":  # an attribute such as .shape or .device
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if name in _FREE_OF_VALUES:
            plain = [a.as_subclass(Tensor) if isinstance(a, Untold) else a for a in args]
            return func(*plain, **(kwargs or {}))
        if name not in _VIEWS:
            raise SurefootError(
                f"the network reads the tokens themselves (by {name!r}), not only their "
                "embeddings, and they are not known: these embeddings are none of its own. Pass "
                'them along, under the name that the network gives them: extra={"input_ids": '
                "tokens}; a call with the unchanged model.embed(tokens) knows them by itself"
            )
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


# What depends on the shape alone, and what gives a part or another view of the same values.
_LIKE = {f"{kind}_like" for kind in ("zeros", "ones", "empty", "full", "rand", "randn")}
_NEW = {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty")}
_ASKED = {"size", "dim", "ndimension", "numel", "nelement", "__len__", "stride", "is_contiguous"}
_ASKED |= {"is_floating_point", "is_complex", "get_device", "element_size"}
_FREE_OF_VALUES = _LIKE | _NEW | _ASKED
_VIEWS = {"view", "reshape", "view_as", "reshape_as", "flatten", "unflatten", "squeeze", "t"}
_VIEWS |= {"unsqueeze", "expand", "expand_as", "transpose", "permute", "movedim", "contiguous"}
_VIEWS |= {"clone", "detach", "to", "long", "int", "type", "cpu", "cuda", "__getitem__", "narrow"}
_VIEWS |= {"select", "split", "chunk", "repeat", "repeat_interleave", "as_subclass"}


@contextmanager
def replaced(
    embedders: Sequence[nn.Module],
    tokens: Sequence[Tensor],
    embeddings: Sequence[Tensor],
    alike: Alike,
) -> Iterator[list[bool]]:
    """While it lasts, embedders give `embeddings[i]` (N, T, D) where they get `tokens[i]` (N, T).

    A call with other tokens, such as a decoder's or another text's, is left as it is.

    Args:
        embedders: the modules that look tokens up in the table.
        tokens: of each text.
        embeddings: of each text.
        alike: which tokens are those of a text.

    Yields:
        Which of the embeddings were given.
    """
    given = [False] * len(tokens)

    def before(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return tuple(map(_plain, args)), {name: _plain(value) for name, value in kwargs.items()}

    def after(_module: nn.Module, args: Any, kwargs: dict[str, Any], output: object) -> Any:
        if not isinstance(output, Tensor):
            return None
        read = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        for i in sorted(range(len(tokens)), key=given.__getitem__):
            if output.numel() == embeddings[i].numel() and any(alike(a, tokens[i]) for a in read):
                given[i] = True
                return embeddings[i].view(output.shape)
        return None

    handles = []
    try:
        for embedder in embedders:
            handles.append(embedder.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(embedder.register_forward_hook(after, with_kwargs=True))
        yield given
    finally:
        for handle in handles:
            handle.remove()


def _plain(value: object) -> object:
    return value.as_subclass(Tensor) if isinstance(value, Untold) else value


def the_same(read: Tensor, tokens: Tensor) -> bool:
    """Whether they are the tokens themselves, or a view of them all."""
    return read.data_ptr() == tokens.as_subclass(Tensor).data_ptr() and _as_many(read, tokens)


def equal(read: Tensor, tokens: Tensor) -> bool:
    """Whether they are the same numbers."""
    plain = tokens.as_subclass(Tensor).reshape(-1)
    return _as_many(read, tokens) and torch.equal(read.reshape(-1).to(plain), plain)


def _as_many(read: Tensor, tokens: Tensor) -> bool:
    return not read.is_floating_point() and read.numel() == tokens.numel()


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
