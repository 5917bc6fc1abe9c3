"""From arguments to a command, and from its errors to exit codes."""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

from jsonargparse import ArgumentParser
from tqdm import tqdm

from surefoot.cli import _faults, attack, audit, certify, completion, doctor, explain, report, train
from surefoot.cli._options import Help, joined
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.files import check_yaml, is_file
from surefoot.report import printable
from surefoot.version import __version__

COMMANDS: dict[str, ModuleType] = {
    "explain": explain,
    "attack": attack,
    "certify": certify,
    "audit": audit,
    "report": report,
    "train": train,
    "doctor": doctor,
    "completion": completion,
}


def main(arguments: Sequence[str] | None) -> int:
    """Run one command, see `surefoot.cli.main`."""
    words = joined(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    try:
        _check_configs(words)
        settings = parser.parse_args(words)
        with warnings.catch_warnings():
            warnings.simplefilter("always", SurefootWarning)
            warnings.showwarning = _shown_once(set())
            own = [parser] if settings.command == "completion" else []
            code = COMMANDS[settings.command].run(settings[settings.command], *own)
    except argparse.ArgumentError as error:
        return _fail(_faults.of_arguments(error, parser, words))
    except SurefootError as error:
        return _fail(_faults.of_library(str(error)))
    except KeyboardInterrupt as error:
        print(f"surefoot: interrupted {_one_line(error)}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has gone
        sys.stderr.close()
        return 0
    return code or 0


def make_parser() -> ArgumentParser:
    """The parser of all commands."""
    parser = ArgumentParser(
        prog="surefoot",
        description="Saliency maps that can be trusted. Exit codes: 0, all went well; 1, an "
        "audit in which something failed on some samples; 2, something given cannot be used, and "
        "one line on standard error says what; 130, interrupted, with what was finished written.",
        exit_on_error=False,
        formatter_class=Help,
        allow_abbrev=False,
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command")
    for name, module in COMMANDS.items():
        commands.add_subcommand(name, module.parser(), help=module.HELP)
    return parser


def _check_configs(words: list[str]) -> None:
    """Raise for configuration files that are no plain ones, before the parser makes them."""
    for option, value in zip(words, [*words[1:], ""], strict=False):
        path = value if option == "--config" else option.partition("--config=")[2]
        if "\0" in path:
            raise SurefootError(f"--config={path!r}, expected the name of a file")
        if path and is_file(path):
            check_yaml(path)


def _fail(text: str) -> int:
    print(f"surefoot: error: {_one_line(text)}", file=sys.stderr)
    return 2


def _shown_once(told: set[str]) -> Callable[..., None]:
    """What shows a warning as one line, the same one once: of a thousand photographs, too."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        line = _one_line(message)
        if line not in told:
            told.add(line)
            with tqdm.external_write_mode(file=sys.stderr):
                print(f"surefoot: warning: {line}", file=sys.stderr)

    return show


def _one_line(message: object) -> str:
    return printable(" ".join(str(message).split()))
