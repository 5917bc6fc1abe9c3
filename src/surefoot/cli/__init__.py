"""The command line. One file a command: `HELP`, `parser()` and `run(settings)`."""

import importlib
import sys
from collections.abc import Sequence

from surefoot.errors import MissingExtraError, optional


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 when all went well, 2 with one line on standard error for anything that cannot be used, 130
    when interrupted.
    """
    try:
        optional("jsonargparse", "cli")
    except MissingExtraError as error:
        print(f"surefoot: error: {error}", file=sys.stderr)
        return 2
    # Only now: the commands need the extra.
    code: int = importlib.import_module("surefoot.cli._main").main(arguments)
    return code
