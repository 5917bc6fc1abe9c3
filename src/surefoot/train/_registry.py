"""The objectives by name."""

from typing import Any

from surefoot import train
from surefoot.errors import SurefootError, suggest
from surefoot.recipes import construct, exported
from surefoot.train._base import Objective


def names() -> list[str]:
    """The names of all objectives.

    >>> "PGD" in names()
    True
    """
    return list(public())


def get(name: str, **options: Any) -> Objective:
    """The objective of that name, with its settings.

    Raises:
        SurefootError: an unknown name or setting; the message names close matches.

    >>> get("PGD", epsilon=0.1)
    PGD(epsilon=0.1)
    """
    known = public()
    if name not in known:
        raise SurefootError(f"there is no objective {name!r}; {suggest(name, known)}")
    objective: Objective = construct(known[name], [], options)
    return objective


def public() -> dict[str, type[Objective]]:
    """The objective classes of `surefoot.train`, by name."""
    return exported(train, Objective)
