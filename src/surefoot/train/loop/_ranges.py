"""Numbers at the door of the loop."""

import operator

from surefoot.errors import SurefootError


def check_whole(name: str, value: object, least: int) -> None:
    """Raise unless `value` is a whole number, at least `least`; True and 2.0 are none."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise SurefootError(f"{name}={value!r}, expected a whole number, at least {least}")
    if number < least:
        raise SurefootError(f"{name}={value}, expected at least {least}")


def check_number(name: str, value: object) -> None:
    """Raise unless `value` is a number; True is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SurefootError(f"{name}={value!r}, expected a number")
