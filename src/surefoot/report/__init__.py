"""Pictures of explanations, drawn with matplotlib (extra `cli`) without touching its state."""

from surefoot.report._picture import SUFFIXES, check_suffix, picture, png, render

__all__ = ["SUFFIXES", "check_suffix", "picture", "png", "render"]
