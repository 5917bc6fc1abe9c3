"""Pictures of explanations, drawn with matplotlib (extra `cli`) without touching its state."""

from surefoot.report._attack_picture import attack_picture
from surefoot.report._attacked import Attacked, attack_table, join
from surefoot.report._picture import SUFFIXES, check_suffix, picture, png, render

__all__ = [
    "SUFFIXES",
    "Attacked",
    "attack_picture",
    "attack_table",
    "check_suffix",
    "join",
    "picture",
    "png",
    "render",
]
