"""Docstrings put together: what many functions say alike of their arguments is written once."""

import inspect
import re
from collections.abc import Iterable

_SECTION = re.compile(r"\n\n(?=(?:Args|Returns|Raises):\n)")
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def completed(own: str, shared: str, arguments: Iterable[str]) -> str:
    r"""A docstring with the sections and the arguments that it lacks, from `shared`.

    >>> shared = "Args:\n    a: a map.\n    b: another.\n\nRaises:\n    Error: never."
    >>> print(completed("Add.\n\nArgs:\n    a: kept.", shared, ["a", "b"]))
    Add.
    <BLANKLINE>
    Args:
        a: kept.
        b: another.
    <BLANKLINE>
    Raises:
        Error: never.
    """
    text, mark, examples = inspect.cleandoc(own).partition("\n\n>>> ")
    said, common = _sections(text), _sections("\n\n" + shared.strip())
    words = dict(_ENTRY.findall(common.get("Args", "") + "\n" + said.get("Args", "")))
    listed = [f"    {name}: {words[name]}" for name in arguments if name in words]
    sections = {**common, **said, "Args": "\n".join(listed)}
    order = [name for name in ("Args", "Returns", "Raises") if sections.get(name)]
    parts = [said[""], *(f"{name}:\n{sections[name]}" for name in order)]
    return "\n\n".join(parts) + mark + examples


def _sections(text: str) -> dict[str, str]:
    """The text before the sections, under "", and the body of each."""
    head, *found = _SECTION.split(text)
    return {"": head} | {name: body for name, _, body in (one.partition(":\n") for one in found)}
