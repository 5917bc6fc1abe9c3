"""An objective from its text, without evaluating anything."""

from surefoot.recipes import Reader
from surefoot.train._base import Objective
from surefoot.train._registry import public


def parse(text: str) -> Objective:
    """The objective that `text` describes, such as its `repr`; see `surefoot.explain.parse`.

    Raises:
        SurefootError: it cannot be read; the message names close matches or the settings there
            are.

    >>> parse("PGD(8/255, steps=7)").steps
    7
    """
    reader = Reader("objective", public(), "SCAAT(epsilon=4/255)")
    value: Objective = reader.parse(text, Objective)
    return value
