"""Audits: explainers x attacks x metrics over the samples that a model gets right."""

from surefoot.auditing._audit import audit
from surefoot.auditing._result import AuditResult

__all__ = ["AuditResult", "audit"]
