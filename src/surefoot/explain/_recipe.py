"""An explainer as text: the repr that is its recipe."""

import dataclasses
from typing import Any


def describe(explainer: Any) -> str:
    """`Name(field=value, ...)` with every setting that belongs to the recipe."""
    shown = [f for f in dataclasses.fields(explainer) if f.repr]
    body = ", ".join(f"{f.name}={getattr(explainer, f.name)!r}" for f in shown)
    return f"{type(explainer).__name__}({body})"
