"""The exceptions and warnings of the library, and the hint for a missing extra."""

import importlib
from collections.abc import Iterable
from difflib import get_close_matches
from types import ModuleType

_LONGEST = 1500


class SurefootError(ValueError):
    """Something given cannot be used; the message says what came, what was expected, what to do.

    >>> from surefoot.metric import topk_intersection
    >>> import torch
    >>> try:
    ...     topk_intersection(torch.ones(1, 3), torch.ones(1, 3), k=5)
    ... except SurefootError as error:
    ...     print(error)
    k=5, but a map has 3 entries; give 1 to 3, or a share such as 0.1
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        if len(text) > _LONGEST:  # of a tensor, or of another's long story
            text = f"{text[: _LONGEST - 300]} [...] {text[-250:]}"
        super().__init__(text)


class SurefootWarning(UserWarning):
    """The call succeeded, but its result may not mean what it seems to mean.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", SurefootWarning)  # to stop where a result may mislead
    """


class MissingExtraError(SurefootError, ImportError):
    """An optional package is not installed; the message holds the install command.

    >>> optional("no_such_package", "cli")
    Traceback (most recent call last):
        ...
    surefoot.errors.MissingExtraError: no_such_package is not installed; install it with: \
pip install "surefoot[cli]"
    """


def optional(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of surefoot brings it.

    Raises:
        MissingExtraError: `module` is not installed.

    >>> optional("json", "cli").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise MissingExtraError(
            f'{module} is not installed; install it with: pip install "surefoot[{extra}]"'
        ) from error


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: close matches, or else all there are.

    >>> suggest("Gradeint", ["Gradient", "Decoy"])
    'did you mean Gradient? There are: Gradient, Decoy'
    """
    known = list(known)
    close = get_close_matches(str(name)[:100], known, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}? There are" if close else "there are"
    return f"{meant}: {', '.join(known)}"
