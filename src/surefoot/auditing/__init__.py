"""Audits: explainers x attacks x metrics over the samples that a model gets right."""

from surefoot.auditing import natural
from surefoot.auditing._audit import audit
from surefoot.auditing._estimate import Estimate as Estimate, estimate as estimate
from surefoot.auditing._ranks import Ranks as Ranks
from surefoot.auditing._result import AuditResult
from surefoot.auditing._run import run as run
from surefoot.auditing._settings import METRICS as METRICS, Settings as Settings
from surefoot.auditing._status import Status as Status, status as status
from surefoot.auditing._threat import Threat, Transferred
from surefoot.auditing._workers import Processes

# What is imported and not named here serves the packages above; it is no promise to users.
__all__ = ["AuditResult", "Processes", "Threat", "Transferred", "audit", "natural"]
