"""One sort of recipe: which there are by name, and how they are read from text and JSON."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from surefoot.recipes._json import from_json
from surefoot.recipes._reader import Reader, construct
from surefoot.recipes._recipe import Recipe

R = TypeVar("R", bound=Recipe)
_FAMILIES: dict[str, "Family[Any]"] = {}


def family(what: str) -> "Family[Any]":
    """The family of that sort, for those that its roots themselves import."""
    return _FAMILIES[what]


@dataclass(frozen=True)
class Family(Generic[R]):
    """The recipes that descend from some roots: the concrete, public ones beside each root.

    Args:
        what: the sort, for messages, such as "explainer".
        roots: the abstract classes. A class belongs to the family if it descends from one of
            them, is defined in the package of that one, and its name has no leading underscore.
        example: a text that can be read, for messages.
        refused: why a name that looks as if it should be known is not.
    """

    what: str
    roots: tuple[type[R], ...]
    example: str
    refused: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _FAMILIES[self.what] = self

    def known(self) -> dict[str, type[R]]:
        """The classes by name, in the order of the alphabet."""
        found = {kind.__name__: kind for root in self.roots for kind in _own(root, root)}
        return dict(sorted(found.items()))

    def get(self, name: str, **settings: Any) -> R:
        """The recipe of that name with its settings; raises with close matches."""
        built: R = construct(self._reader().find(name), [], settings)
        return built

    def parse(self, text: str) -> R:
        """What `text` describes, nothing evaluated; raises if it is no such recipe."""
        value: R = self._reader().parse(text, self.roots)
        return value

    def from_json(self, text: str, tensors: Mapping[str, Tensor] | None = None) -> R:
        """What `to_json` stored; raises if it is no such recipe."""
        value: R = from_json(text, tensors, self._reader().find, self.what, self.roots)
        return value

    def _reader(self) -> Reader:
        known: Mapping[str, Callable[..., Any]] = self.known()
        return Reader(self.what, known, self.example, self.refused)


def _own(kind: type[R], root: type[R]) -> Iterator[type[R]]:
    if kind.is_own(root) and not inspect.isabstract(kind):
        yield kind
    for below in kind.__subclasses__():
        yield from _own(below, root)
