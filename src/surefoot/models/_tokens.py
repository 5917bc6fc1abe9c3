"""Tokens that know their places: a network may turn, cut and join them before it embeds them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from surefoot.errors import SurefootError


class Tokens(Tensor):
    """Integer tokens that know where in their text each stands, whatever moves them.

    Attributes:
        places: shaped like the tokens; which place of the texts each has, counted through, or -1.
        told: whether their values are known. If not, reading one raises.
    """

    places: Tensor
    told: bool

    @classmethod
    def of(cls, tokens: Tensor, places: Tensor, *, told: bool) -> "Tokens":
        """Tokens at places."""
        made = tokens.as_subclass(cls)
        made.places, made.told = places, told
        return made

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What moves tokens moves their places; whatever reads a value of unknown ones raises."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        first = _first(name, args)
        before = numbers_of(first).clone() if first is not None and _in_place(name) else None
        result = func(*tree_map(numbers_of, args), **tree_map(numbers_of, kwargs))
        if name in _FREE_OF_VALUES:
            return result
        if first is not None and (name in _MOVES or name == "__get__"):
            moved = func(*_in_their_place(name, args), **tree_map(numbers_of, kwargs))
            if name == "_pack_padded_sequence":  # beside the tokens, how many each step has
                moved = (moved[0], None)
            return _with_places(result, moved, told=first.told)
        if first is not None and name in _CONVERSIONS and not isinstance(result, Tensor):
            return result  # the name of a type
        if first is not None and name in _CONVERSIONS and _is_whole(result):
            return cls.of(result, first.places.to(result.device), told=first.told)
        _must_be_told(name, args, kwargs)
        if first is None:
            return result
        return _changed(name, first, before, args, result)


def numbers_of(value: object) -> Any:
    """Tokens as a plain tensor; anything else as it is."""
    return value.as_subclass(Tensor) if isinstance(value, Tokens) else value


def placed(
    tokens: Sequence[Tensor | None], embeddings: Sequence[Tensor]
) -> tuple[list[Tokens], Sequence[Tensor], list[int]]:
    """Each text's tokens (N, T) at their places, the embeddings, and where its places end."""
    found, ends, start = [], [], 0
    for each, at in zip(tokens, embeddings, strict=True):
        shape, device = at.shape[:2], at.device
        numbers = torch.zeros(shape, dtype=torch.long, device=device) if each is None else each
        end = start + shape.numel()
        places = torch.arange(start, end, device=device).view(shape)
        found.append(Tokens.of(numbers.clone(), places, told=each is not None))
        ends.append(end)
        start = end
    return found, embeddings, ends


def _first(name: str, args: Sequence[Any]) -> Tokens | None:
    """The tokens that a function works on, not those it takes as indices into something else."""
    heads = args[1:] if name == "where" else args[:1]
    if heads and isinstance(heads[0], tuple | list):
        heads = heads[0]
    return next((one for one in heads if isinstance(one, Tokens)), None)


def _in_their_place(name: str, args: Sequence[Any]) -> list[Any]:
    """The arguments of a function that moves tokens, so that it moves their places."""
    heads, rest = (args[:1], args[1:]) if name != "where" else (args[1:], args[:1])
    moved = tree_map(_places_of, list(heads))
    if name == "masked_fill":
        return [*moved, numbers_of(rest[0]), -1]
    if name == "where":
        return [numbers_of(rest[0]), *moved]
    return [*moved, *tree_map(numbers_of, list(rest))]


def _places_of(value: object) -> object:
    if isinstance(value, Tokens):
        return value.places
    return torch.full_like(value, -1) if isinstance(value, Tensor) else -1


def _in_place(name: str) -> bool:
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _is_whole(value: object) -> bool:
    return isinstance(value, Tensor) and not (
        value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    )


def _with_places(result: Any, places: Any, *, told: bool) -> Any:
    """What a function gave, with what it made of the places."""
    if isinstance(result, tuple | list) and isinstance(places, tuple | list):
        pairs = zip(result, places, strict=True)
        return type(result)([_with_places(one, at, told=told) for one, at in pairs])
    if isinstance(places, Tensor) and _is_whole(result) and result.shape == places.shape:
        return Tokens.of(result, places, told=told)
    return result


def _must_be_told(name: str, args: Any, kwargs: Any) -> None:
    def look(value: object) -> object:
        if isinstance(value, Tokens) and not value.told:
            raise SurefootError(
                f"the network reads the tokens themselves (by {name!r}), not only their "
                "embeddings, and they are not known: these embeddings are none of its own. Pass "
                'them along, under the name that the network gives them: extra={"input_ids": '
                "tokens}; a call with the unchanged model.embed(tokens) knows them by itself"
            )
        return value

    tree_map(look, (args, kwargs))


def _changed(name: str, first: Tokens, before: Tensor | None, args: Any, result: Any) -> Any:
    """What a function that looks at values gave: what it has left alone keeps its place."""
    if name == "__setitem__":
        shifted = any(isinstance(one, Tokens) for one in args[2:])  # that makes another text
        first.places[... if shifted else tree_map(numbers_of, args[1])] = -1
        return result
    if before is not None:
        first.places[before != numbers_of(first)] = -1
        return first
    if name in _CHANGES and _is_whole(result) and result.shape == first.shape:
        kept = torch.where(result == numbers_of(first), first.places, -1)
        return Tokens.of(result, kept, told=True)
    return result


# What depends on the shape alone, and what gives the same values elsewhere.
_LIKE = {f"{kind}_like" for kind in ("zeros", "ones", "empty", "full", "rand", "randn")}
_NEW = {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty")}
_ASKED = {"size", "dim", "ndimension", "numel", "nelement", "__len__", "stride", "is_contiguous"}
_ASKED |= {"is_floating_point", "is_complex", "get_device", "element_size"}
_FREE_OF_VALUES = _LIKE | _NEW | _ASKED
_MOVES = {"view", "reshape", "view_as", "reshape_as", "flatten", "unflatten", "squeeze", "t"}
_MOVES |= {"unsqueeze", "expand", "expand_as", "transpose", "permute", "movedim", "contiguous"}
_MOVES |= {"clone", "detach", "__getitem__", "narrow", "select", "split", "chunk", "unbind"}
_MOVES |= {"repeat", "repeat_interleave", "tile", "flip", "roll", "index_select", "gather"}
_MOVES |= {"cat", "concat", "stack", "hstack", "vstack", "swapaxes", "ravel", "masked_select"}
_MOVES |= {"take_along_dim", "broadcast_to", "unfold", "tensor_split", "masked_fill", "where"}
_MOVES |= {"_pack_padded_sequence"}
_CONVERSIONS = {"to", "long", "int", "type", "cpu", "cuda"}
_CHANGES = {"clamp", "clip", "clamp_min", "clamp_max"}
