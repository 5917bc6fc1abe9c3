"""Pictures inside a page."""

import base64
from html import escape

from surefoot.report._text import printable


def image(png: bytes, alt: str) -> str:
    """A PNG as a part of a page, with its text for those who cannot see it."""
    data = base64.b64encode(png).decode()
    style = "max-width:100%"
    return f'<img src="data:image/png;base64,{data}" alt="{words(alt)}" style="{style}">'


def words(text: str) -> str:
    """Any text as a page can hold it, in attributes, too."""
    return escape(printable(text), quote=True)
