"""Budgets of attacks, read from their recipes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from surefoot import attack
from surefoot.errors import SurefootError


class Budgeted(NamedTuple):
    """An attack's budget, and what the attack is but for its size."""

    kind: str
    norm: str
    radius: float


def budgets(recipes: Mapping[str, str]) -> dict[str, Budgeted]:
    """Those of the attacks that have one; natural changes and attacks of one's own have none."""
    found = {}
    for name, text in recipes.items():
        try:
            one: Any = attack.parse(text)
            kind = repr(replace(one, budget=replace(one.budget, epsilon=0.0)))
            found[name] = Budgeted(kind, one.budget.norm, float(one.budget.radius))
        except (SurefootError, AttributeError, TypeError):
            continue
    return found


def size(known: Budgeted) -> str:
    """A radius, as steps of a picture of 8 bits where it is a whole number of them."""
    steps = round(known.radius * 255)
    whole = known.norm == "linf" and steps and abs(known.radius * 255 - steps) < 1e-6
    return f"{steps}/255" if whole else f"{known.radius:.3g}"
