"""Errors in the words of a command line: of options, not of Python's arguments."""

import re
from argparse import ArgumentError
from collections.abc import Iterable
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from surefoot.cli._options import OPTIONS
from surefoot.errors import suggest

_KEY = re.compile(r'Parser key "(?P<name>\w+)".*(?:Given|Got) value: (?P<value>.*)$', re.DOTALL)
# What a recipe has, too, so that the message may mean that.
_SHARED = {"steps", "samples", "seed", "layer", "out", "average", "data"}
_OWN = "|".join(sorted(set(OPTIONS) - _SHARED, key=len, reverse=True))
_LEADING = re.compile(rf"^({_OWN})(?=[= ](?!is set))")
_SWITCHED = re.compile(r"(?:pass )?\b(resume|overwrite|download)=True")
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def of_arguments(error: ArgumentError, parser: ArgumentParser, words: Iterable[str]) -> str:
    """What is wrong with the words of a command line."""
    text = str(error)
    found = _KEY.search(text)
    if found and found["name"] in OPTIONS:
        name = found["name"]
        return (
            f"{_flag(name)}={found['value']}, expected {_words(OPTIONS[name].kind)} "
            f'("{name}" in a configuration)'
        )
    if "unrecognized arguments" in text:
        return text + _meant(text, parser, words)
    if '"command"' in text and "not provided" in text:
        known = text.partition("{")[2].partition("}")[0].replace(",", ", ")
        return f"a command is missing, one of {known}; see surefoot --help"
    return text


def of_library(text: str) -> str:
    """The library's message, with settings that are options written as such."""
    text = _SWITCHED.sub(lambda found: _flag(found[1]), text)
    return _LEADING.sub(lambda found: _flag(found[1]), text)


def _meant(text: str, parser: ArgumentParser, words: Iterable[str]) -> str:
    """Options that the first unknown one may have meant."""
    wrong = next((word for word in text.split() if word.startswith("--")), None)
    command = next((word for word in words if not word.startswith("-")), None)
    commands = parser._subcommands_action.choices if parser._subcommands_action else {}
    if wrong is None or command not in commands:
        return ""
    known = [flag for flag in commands[command]._option_string_actions if flag.startswith("--")]
    close = suggest(wrong.partition("=")[0], known).partition("? There are")
    return f"; {close[0]}?" if close[1] else ""


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _words(kind: Any) -> str:
    """A type as a reader says it."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if isinstance(kind, UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is list:
        return f"a list, each {_words(*get_args(kind))}"
    if get_origin(kind) is dict:
        return "{NAME: VALUE, ...}"
    return _KINDS.get(kind, "another value")
