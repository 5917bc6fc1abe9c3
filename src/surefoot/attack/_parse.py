"""An attack from its text, without evaluating anything."""

import inspect

from surefoot import attack
from surefoot.attack._base import AttributionAttack
from surefoot.attack._recipe import Recipe
from surefoot.errors import SurefootError
from surefoot.recipes import Reader


def parse(text: str) -> AttributionAttack | Recipe:
    """The attack or budget that `text` describes, such as its `repr`; see `surefoot.explain.parse`.

    Raises:
        SurefootError: it cannot be read; the message names close matches or the settings there
            are.

    >>> parse("TopK(Linf(8/255, steps=20), k=100)").k
    100
    """
    reader = Reader("attack", public(), "TopK(Linf(8/255, steps=20), k=100)")
    value = reader.read(text)
    if not isinstance(value, Recipe):
        raise SurefootError(f"{text[:80]!r} is not an attack; write it like {reader.example}")
    return value


def public() -> dict[str, type[Recipe]]:
    """The attacks and budgets of `surefoot.attack`, by name."""
    named = {name: getattr(attack, name) for name in attack.__all__}
    return {
        name: kind
        for name, kind in named.items()
        if isinstance(kind, type) and issubclass(kind, Recipe) and not inspect.isabstract(kind)
    }
