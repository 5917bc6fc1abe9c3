"""A frozen dataclass of settings whose repr is its text and whose settings are its identity."""

import dataclasses
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, cast, get_type_hints

from surefoot.docstrings import completed
from surefoot.recipes._made import Made
from surefoot.recipes._values import freeze, show
from surefoot.typed import check_kinds

_ALWAYS_SHOWN = ("score", "layer")


@dataclasses.dataclass(frozen=True, repr=False)
class Recipe(metaclass=Made):
    """Settings that show, compare and hash by value, tensors included.

    The text is `Name(setting=value, ...)` with the settings that differ from their default.
    `score`, `layer` and recipes inside always show. A first setting that has no default or is a
    recipe is written without its name. A field with `repr=False` does not belong to the recipe.
    What a subclass does not say of a setting that it inherits, its docstring takes from its base.
    """

    def settings(self) -> dict[str, object]:
        """The settings that belong to the recipe, by keyword."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.repr}

    @classmethod
    def is_own(cls, root: type) -> bool:
        """Whether this is a public class of the package of `root`, known there by its name."""
        return _package(cls) == _package(root) and not cls.__name__.startswith("_")

    @classmethod
    def is_known(cls) -> bool:
        """Whether its name alone tells which class it is: it is its own root's, see `is_own`."""
        roots = [kind for kind in cls.__mro__ if Recipe in kind.__bases__]
        return any(map(cls.is_own, roots))

    def check_kinds(self, whole: bool = True) -> None:
        """Raise unless every setting, and those of recipes inside, is of the kind it says.

        Without `whole`, numbers that should be whole are left to who checks their range.
        """
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        hints = _hints(cast("Hashable", type(self)))
        if not whole:
            settings = {n: v for n, v in settings.items() if not isinstance(v, float)}
        check_kinds(type(self).__name__, settings, hints)
        for value in settings.values():
            if isinstance(value, Recipe):
                value.check_kinds()

    def __repr__(self) -> str:
        declared = {f.name: f for f in dataclasses.fields(self)}
        first = next((name for name, f in declared.items() if not f.kw_only), None)
        words = []
        for name, value in self.settings().items():
            default = _default(declared.get(name))
            wanted = default is dataclasses.MISSING or isinstance(value, Recipe)
            if wanted or name in _ALWAYS_SHOWN or freeze(default) != freeze(value):
                words.append(show(value) if wanted and name == first else f"{name}={show(value)}")
        return f"{type(self).__name__}({', '.join(words)})"

    def __eq__(self, other: object) -> bool:
        return _key(self) == _key(other) if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        return hash(_key(self))

    def __init_subclass__(cls) -> None:
        # Else @dataclass would write its own, which fail on settings that are tensors.
        super().__init_subclass__()
        for name in ("__repr__", "__eq__", "__hash__"):
            if name not in vars(cls):
                setattr(cls, name, getattr(cls, name))
        kinds = [kind for kind in cls.__mro__ if issubclass(kind, Recipe)]
        if cls.__doc__ and kinds[1].__doc__:
            settings = (name for kind in kinds for name in kind.__annotations__)
            cls.__doc__ = completed(cls.__doc__, kinds[1].__doc__, dict.fromkeys(settings))


@cache
def _hints(kind: Hashable) -> Mapping[str, Any]:
    try:
        return get_type_hints(kind)
    except (NameError, TypeError):  # annotations that are there for a type checker alone
        return {}


def _package(kind: type) -> list[str]:
    return kind.__module__.split(".")[:2]


def _default(declared: "dataclasses.Field[Any] | None") -> Any:
    if declared is None or declared.default_factory is dataclasses.MISSING:
        return declared.default if declared else dataclasses.MISSING
    return declared.default_factory()


def _key(recipe: Recipe) -> Hashable:
    """What equality and hash go by: the class and every setting that compares."""
    compared = [f.name for f in dataclasses.fields(recipe) if f.compare]
    return (type(recipe), *(freeze(getattr(recipe, name)) for name in compared))
