"""Numbers as a command line and a configuration file may write them."""

from argparse import ArgumentTypeError


class UnreadableError(ArgumentTypeError, ValueError):
    """Text that is not what an option takes; argparse shows the one, config files the other."""


def number(text: str | float) -> float:
    """A number, also written as a fraction.

    >>> number("1/255") == 1 / 255, number("4e-3"), number(2)
    (True, 0.004, 2.0)
    """
    top, *bottom = str(text).split("/", 1)
    try:
        return float(top) / float(*bottom) if bottom else float(top)
    except (ValueError, ZeroDivisionError):
        raise UnreadableError(f"{text!r}, expected a number such as 0.004 or 1/255") from None


def sharpness(text: str | float) -> str | float:
    """`--beta`: a number, "auto" or "none"."""
    if text in ("auto", "none"):
        return text
    try:
        return float(text)
    except ValueError:
        raise UnreadableError(f"{text!r}, expected a number, auto or none") from None
