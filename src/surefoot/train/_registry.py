"""The objectives by name, and from text without evaluating anything."""

from typing import Any

from surefoot.recipes import Family
from surefoot.train._base import Objective

OBJECTIVES: Family[Objective] = Family("objective", (Objective,), "SCAAT(epsilon=4/255)")


def names() -> list[str]:
    """The names of all objectives.

    >>> from surefoot.train import names
    >>> "PGD" in names()
    True
    """
    return list(OBJECTIVES.known())


def get(name: str, **options: Any) -> Objective:
    """The objective of that name, with its settings.

    Raises:
        SurefootError: an unknown name or setting; the message names close matches.

    >>> from surefoot.train import get
    >>> get("PGD", epsilon=0.1)
    PGD(epsilon=0.1)
    """
    return OBJECTIVES.get(name, **options)


def parse(text: str) -> Objective:
    """The objective that `text` describes, such as its `repr`; see `surefoot.explain.parse`.

    Raises:
        SurefootError: it cannot be read; the message names close matches or the settings there
            are.

    >>> from surefoot.train import parse
    >>> parse("PGD(8/255, steps=7)").steps
    7
    """
    return OBJECTIVES.parse(text)
