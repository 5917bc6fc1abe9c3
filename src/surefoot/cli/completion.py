"""`surefoot completion bash`: a script that completes commands, options and files in a shell."""

from typing import Any

from jsonargparse import ArgumentParser

from surefoot.cli._numbers import UnreadableError
from surefoot.cli._options import make_parser
from surefoot.errors import SurefootError, optional

HELP = "print a script that completes options in bash, zsh or fish"
_WHERE = {
    "bash": 'eval "$(surefoot completion bash)"              # in ~/.bashrc',
    "zsh": "surefoot completion zsh > ~/.zfunc/_surefoot     # a folder of $fpath, before compinit",
    "fish": "surefoot completion fish > ~/.config/fish/completions/surefoot.fish",
}


def parser() -> ArgumentParser:
    """The options of the command."""
    options = make_parser(
        "Print a script that completes commands, options and files. Once, for each shell: "
        + "; ".join(f"{shell}: {line.partition('#')[0].strip()}" for shell, line in _WHERE.items())
    )
    options.add_argument("shell", type=shell, metavar="SHELL", help="bash, zsh or fish")
    return options


def shell(text: str) -> str:
    """The name of a shell."""
    if text not in _WHERE:
        raise UnreadableError(f"{text!r}, expected {', '.join(_WHERE)}")
    return text


def run(settings: Any, whole: ArgumentParser) -> None:
    """Print the script.

    Args:
        settings: the options.
        whole: the parser of all commands.

    Raises:
        MissingExtraError: shtab is not installed.
        SurefootError: the installed one does not know the shell.
    """
    known = optional("shtab", "cli").SUPPORTED_SHELLS
    if settings.shell not in known:
        raise SurefootError(
            f"the installed shtab completes in {', '.join(known)}, not in {settings.shell}; "
            'pip install --upgrade "shtab>=1.13"'
        )
    print(f"# {_WHERE[settings.shell]}")
    print(whole.get_completion_script(f"shtab-{settings.shell}"))
