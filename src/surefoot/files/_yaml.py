"""Configurations that multiply themselves or nest without end are refused before they are made."""

from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError, optional
from surefoot.files._bounded import read_text

_LARGEST, _DEEPEST = 2**20, 40


def check_yaml(path: str | Path) -> None:
    """Raise for a YAML file that is no plain configuration.

    Raises:
        SurefootError: it cannot be read, is larger than any configuration, nests deeper, or has
            anchors and aliases, with which a few lines make millions.
    """
    yaml: Any = optional("yaml", "cli")
    depth = 0
    try:
        for event in yaml.parse(read_text(path, _LARGEST), Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise SurefootError(f"{path} refers to itself with *{event.anchor}; write it out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise SurefootError(f"{path} is nested deeper than {_DEEPEST}, as no options are")
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SurefootError(f"cannot read {path}: it is no YAML ({reason})") from error
