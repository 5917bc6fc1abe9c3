r"""Equations, from TeX to MathML while the site is built: browsers draw them without a script.

GitHub's spelling, so that pages read well there, too: fences named `math`, and $`...`$ in a line.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

INLINE = r"\$`([^`]+)`\$"


def block(source: str, *_: Any, **__: Any) -> str:
    """A fence, as superfences asks for it."""
    return f'<div class="equation" tabindex="0">{convert(source, display="block")}</div>'


class Equations(Extension):
    """Equations in a line of text."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Markdown's name)
        """Before inline code, whose backticks these use."""
        md.inlinePatterns.register(_Inline(INLINE, md), "equations", 200)


class _Inline(InlineProcessor):
    def handleMatch(  # type: ignore[override]  # noqa: N802 (Markdown's name)
        self,
        m: re.Match[str],
        data: str,  # noqa: ARG002
    ) -> tuple[Element | str, int, int]:
        return self.md.htmlStash.store(convert(m[1])), m.start(0), m.end(0)
