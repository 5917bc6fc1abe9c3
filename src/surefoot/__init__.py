"""Saliency maps that can be trusted: decoy-enhanced explanations for PyTorch."""

from surefoot import attack, certify, data, decoy, explain, metric, models, report, train
from surefoot.auditing import AuditResult, audit
from surefoot.errors import MissingExtraError, SurefootError, SurefootWarning
from surefoot.version import __version__ as __version__

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
