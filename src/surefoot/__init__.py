"""Saliency maps that can be trusted: decoy-enhanced explanations for PyTorch."""

from surefoot import attack, data, decoy, explain, metric, models, report, train
from surefoot.auditing import AuditResult, audit
from surefoot.errors import MissingExtraError, SurefootError, SurefootWarning

__version__ = "0.1.0.dev0"

__all__ = [
    "AuditResult",
    "MissingExtraError",
    "SurefootError",
    "SurefootWarning",
    "attack",
    "audit",
    "data",
    "decoy",
    "explain",
    "metric",
    "models",
    "report",
    "train",
]
