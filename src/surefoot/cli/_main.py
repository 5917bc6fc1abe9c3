"""From arguments to a command, and from its errors to exit codes."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from jsonargparse import ArgumentParser

from surefoot.cli import attack, audit, doctor, explain, report, train
from surefoot.cli._options import Help, joined
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.version import __version__

COMMANDS: dict[str, ModuleType] = {
    "explain": explain,
    "attack": attack,
    "audit": audit,
    "report": report,
    "train": train,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None) -> int:
    """Run one command, see `surefoot.cli.main`."""
    try:
        settings = _parser().parse_args(joined(sys.argv[1:] if arguments is None else arguments))
        with warnings.catch_warnings():
            warnings.simplefilter("always", SurefootWarning)
            warnings.showwarning = _show_warning
            code = COMMANDS[settings.command].run(settings[settings.command])
    except (SurefootError, argparse.ArgumentError) as error:
        print(f"surefoot: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("surefoot: interrupted", file=sys.stderr)
        return 130
    return code or 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="surefoot",
        description="Saliency maps that can be trusted.",
        exit_on_error=False,
        formatter_class=Help,
        allow_abbrev=False,
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command")
    for name, module in COMMANDS.items():
        commands.add_subcommand(name, module.parser(), help=module.HELP)
    return parser


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"surefoot: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
