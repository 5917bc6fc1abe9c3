"""What budgets and attacks are: frozen dataclasses of settings whose repr is the recipe."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

from surefoot.explain import _recipe

if TYPE_CHECKING:
    from surefoot.explain import Explainer


@dataclass(frozen=True, repr=False)
class Recipe:
    """Settings that show, compare and hash by value, tensors included, as explainers do."""

    def settings(self) -> dict[str, object]:
        """The settings that belong to the recipe, by keyword."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.repr}

    def __repr__(self) -> str:
        return _recipe.describe(cast("Explainer", self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        return _recipe.key(cast("Explainer", self)) == _recipe.key(cast("Explainer", other))

    def __hash__(self) -> int:
        return hash(_recipe.key(cast("Explainer", self)))

    def __init_subclass__(cls) -> None:
        # Else @dataclass would write its own, which fail on settings that are tensors.
        super().__init_subclass__()
        for name in ("__repr__", "__eq__", "__hash__"):
            if name not in vars(cls):
                setattr(cls, name, getattr(cls, name))
