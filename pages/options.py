"""The command line's page, from the parsers themselves."""

import argparse
from typing import Any

from surefoot.cli._main import COMMANDS, make_parser

HEAD = """# The command line

{}

Every option can stand in a YAML file, too (`--config FILE.yaml`, its dashes written as
underscores); a run leaves such a file beside its results. Recipes are written as
[in Python](recipes.md).

| command | what it does |
|---|---|"""


def pages() -> dict[str, str]:
    """Markdown by path."""
    parser = make_parser()
    lines = [HEAD.format(_escaped(parser.description or ""))]
    lines += [
        f"| [`surefoot {name}`](#surefoot-{name}) | {_escaped(module.HELP)} |"
        for name, module in COMMANDS.items()
    ]
    for name, module in COMMANDS.items():
        lines += ["", f"## `surefoot {name}`", "", *_command(module.parser())]
    return {"reference/command-line.md": "\n".join(lines) + "\n"}


def _command(parser: Any) -> list[str]:
    lines = [_escaped(parser.description or ""), ""]
    for group in parser._action_groups:
        shown = [one for one in group._group_actions if _is_shown(one)]
        if not shown:
            continue
        if group.title not in ("positional arguments", "options"):
            lines += [f"**{_escaped(group.title)}**", ""]
        lines += ["| option | what it says | default |", "|---|---|---|"]
        lines += [f"| {_spelt(one)} | {_escaped(one.help)} | {_default(one)} |" for one in shown]
        lines.append("")
    return lines


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and action.dest not in ("help", "print_config")


def _spelt(action: argparse.Action) -> str:
    flags = [flag for flag in action.option_strings if not flag.endswith("+")]
    value = "" if action.nargs == 0 else action.metavar or action.dest
    names = [f"`{flag}`" for flag in flags] or [f"`{value}`"]
    shown = str(value).strip("[]")
    return ", ".join(names) + (f" `{shown}`" if flags and value else "")


def _default(action: argparse.Action) -> str:
    default = action.default
    if default in (None, False) or default == argparse.SUPPRESS:
        return ""
    if isinstance(default, dict):
        return "; ".join(f"{name}: `{value}`" for name, value in default.items())
    shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    return f"`{shown}`"


def _escaped(text: str | None) -> str:
    """As Markdown inside a table."""
    plain = " ".join((text or "").split())
    for sign in ("\\", "|", "*", "_", "<", "[", "$"):
        plain = plain.replace(sign, "&lt;" if sign == "<" else "\\" + sign)
    return plain
