"""Docstrings as the reference shows them: those of metrics complete, doctests as examples.

Metrics' docstrings and signatures are completed when they are made, so they are taken from the live
functions. Doctests stand at the end of docstrings without a heading; here they get theirs.
"""

import inspect
from typing import Any

from griffe import Docstring, Extension, Function, Object, Parameter, ParameterKind, Parameters

from surefoot.metric import REGISTRY

_COMPLETE = {one.name: one.function for one in REGISTRY.values()}
_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: ParameterKind.positional_or_keyword,
    inspect.Parameter.VAR_POSITIONAL: ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: ParameterKind.var_keyword,
}


class Live(Extension):
    """What `help()` shows, in place of what stands in the source."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Called by griffe for each function that it has read."""
        found = _COMPLETE.get(func.name)
        if found is None or not func.path.startswith("surefoot.metric._") or not func.docstring:
            return
        line = func.docstring.lineno
        text = inspect.getdoc(found) or ""
        func.docstring = Docstring(text, lineno=line, parent=func, parser="google")
        signature = inspect.signature(found)
        func.parameters = Parameters(*map(_parameter, signature.parameters.values()))

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for each class, function and attribute, after the above."""
        if obj.docstring:
            obj.docstring.value = headed(obj.docstring.value)


def headed(text: str) -> str:
    r"""A docstring with `Examples:` over its doctests, and no line that Markdown makes a heading.

    >>> print(headed("Adds.\n\n>>> 1 + 1\n2"))
    Adds.
    <BLANKLINE>
    Examples:
        >>> 1 + 1
        2
    """
    lines = [f"\\{line}" if line.startswith("#") else line for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith(">>>")]
    if not starts:
        return "\n".join(lines)
    first = starts[0]
    below = [f"    {line}" if line else "" for line in lines[first:]]
    return "\n".join([*lines[:first], "Examples:", *below])


def _parameter(one: inspect.Parameter) -> Parameter:
    """As griffe keeps it, its type in few words."""
    default = None if one.default is one.empty else repr(one.default)
    name = inspect.formatannotation(one.annotation)
    for long in ("torch.nn.modules.module.", "collections.abc.", "torch.", "typing."):
        name = name.replace(long, "")
    return Parameter(one.name, kind=_KINDS[one.kind], default=default, annotation=name)
