"""Functions that take the same settings, built into one object and checked in one place."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")


def door(first: Callable[P, A], **defaults: Any) -> Callable[[Callable[[A], R]], Callable[P, R]]:
    """A function of what `first` builds is called as `first` is, keywords defaulting to `defaults`.

    >>> def box(width: int, *, height: int = 2) -> tuple[int, int]:
    ...     return width, height
    >>> @door(box, height=3)
    ... def area(sides: tuple[int, int]) -> int:
    ...     return sides[0] * sides[1]
    >>> area(5), area(5, height=1), inspect.signature(area)
    (15, 5, <Signature (width: int, *, height: int = 3) -> int>)
    """
    built: Callable[P, A] = functools.partial(first, **defaults)

    def enter(read: Callable[[A], R]) -> Callable[P, R]:
        @functools.wraps(read)
        def whole(*given: P.args, **options: P.kwargs) -> R:
            try:
                signature.bind(*given, **options)
            except TypeError as error:  # in the name of the function that was called
                raise TypeError(f"{read.__name__}() {error}") from None
            return read(built(*given, **options))

        result = inspect.signature(read).return_annotation
        signature = inspect.signature(built).replace(return_annotation=result)
        whole.__signature__ = signature  # type: ignore[attr-defined]
        whole.__annotations__ = {**first.__annotations__, "return": result}
        return whole

    return enter
