"""Pictures and pages of explanations, drawn with matplotlib (extra `cli`)."""

from surefoot.report._attack_picture import attack_picture
from surefoot.report._attacked import Attacked, attack_table, join
from surefoot.report._files import SUFFIXES, check_suffix, render
from surefoot.report._look import Look as Look, Scale as Scale, Size as Size
from surefoot.report._page import audit_page
from surefoot.report._picture import picture, png

__all__ = [
    "SUFFIXES",
    "Attacked",
    "attack_picture",
    "attack_table",
    "audit_page",
    "check_suffix",
    "join",
    "picture",
    "png",
    "render",
]
