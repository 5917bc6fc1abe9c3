"""The library's version, and those of what a result depends on."""

import platform
from importlib import metadata

__version__ = "0.1.0.dev0"


def versions(*packages: str) -> dict[str, str]:
    """Surefoot's, Python's and the packages' versions, by name.

    >>> list(versions("torch"))
    ['surefoot', 'python', 'torch']
    """
    found = {name: metadata.version(name) for name in packages}
    return {"surefoot": __version__, "python": platform.python_version(), **found}
