"""Saliency maps that can be trusted: decoy-enhanced explanations for PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

from surefoot.errors import MissingExtraError, SurefootError, SurefootWarning
from surefoot.version import __version__ as __version__

if TYPE_CHECKING:
    from surefoot import attack, certify, data, decoy, explain, metric, models, report, train
    from surefoot.auditing import AuditResult, audit

__all__ = [
    "AuditResult",
    "MissingExtraError",
    "SurefootError",
    "SurefootWarning",
    "attack",
    "audit",
    "certify",
    "data",
    "decoy",
    "explain",
    "metric",
    "models",
    "report",
    "train",
]
_OF_AUDITING = ("AuditResult", "audit")


def __getattr__(name: str) -> Any:
    """Packages are loaded when they are first asked for: `import surefoot` takes no time."""
    if name in _OF_AUDITING:
        return getattr(importlib.import_module("surefoot.auditing"), name)
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"surefoot.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"surefoot.{name}":
                raise
    raise AttributeError(f"module 'surefoot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
