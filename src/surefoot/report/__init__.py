"""Pictures and pages of explanations, drawn with matplotlib (extra `cli`)."""

from surefoot.report._attack_picture import attack_picture
from surefoot.report._attacked import Attacked, attack_table, join
from surefoot.report._certificate_picture import (
    certificate_picture,
    certificate_table,
    sides_table,
)
from surefoot.report._decoys_picture import decoys_html as decoys_html, decoys_picture
from surefoot.report._files import SUFFIXES, bitmap as bitmap, check_suffix, render
from surefoot.report._html import attacked_html as attacked_html, html, terminal
from surefoot.report._images import coloured as coloured, painted as painted
from surefoot.report._look import Look as Look, Scale as Scale, Size as Size
from surefoot.report._page import audit_page
from surefoot.report._panel import percent as percent
from surefoot.report._picture import picture, png
from surefoot.report._text import printable as printable

# What is imported and not named here serves the command line; it is no promise to users.
__all__ = [
    "SUFFIXES",
    "Attacked",
    "attack_picture",
    "attack_table",
    "audit_page",
    "certificate_picture",
    "certificate_table",
    "check_suffix",
    "decoys_picture",
    "html",
    "join",
    "picture",
    "png",
    "render",
    "sides_table",
    "terminal",
]
