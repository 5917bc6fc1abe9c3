"""An attack from its text, without evaluating anything."""

from surefoot import attack
from surefoot.attack._base import AttributionAttack
from surefoot.attack._recipe import Recipe
from surefoot.recipes import Reader, exported


def parse(text: str) -> AttributionAttack | Recipe:
    """The attack or budget that `text` describes, such as its `repr`; see `surefoot.explain.parse`.

    Raises:
        SurefootError: it cannot be read; the message names close matches or the settings there
            are.

    >>> parse("TopK(Linf(8/255, steps=20), k=100)").k
    100
    """
    reader = Reader("attack", public(), "TopK(Linf(8/255, steps=20), k=100)")
    value: AttributionAttack | Recipe = reader.parse(text, Recipe)
    return value


def public() -> dict[str, type[Recipe]]:
    """The attacks and budgets of `surefoot.attack`, by name."""
    return exported(attack, Recipe)
