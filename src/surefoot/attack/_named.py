"""Attacks and budgets by name, from text, without evaluating anything."""

from surefoot.attack._base import AttributionAttack
from surefoot.attack._prediction import PredictionAttack
from surefoot.budget import Budget
from surefoot.recipes import Family, Recipe

ATTACKS: Family[Recipe] = Family(
    "attack",
    (AttributionAttack, PredictionAttack, Budget),
    "TopK(Linf(8/255, steps=20), k=100)",
)


def parse(text: str) -> Recipe:
    """The attack or budget that `text` describes, such as its `repr`; see `surefoot.explain.parse`.

    Raises:
        SurefootError: it cannot be read; the message names close matches or the settings there
            are.

    >>> from surefoot.attack import parse
    >>> parse("TopK(Linf(8/255, steps=20), k=100)").k
    100
    """
    return ATTACKS.parse(text)
