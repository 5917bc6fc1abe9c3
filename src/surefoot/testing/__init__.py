"""Does an explainer keep the contract? For authors of explainers, in their own test suites."""

from surefoot.testing._explainer import check_explainer
from surefoot.testing._report import Check, Report

__all__ = ["Check", "Report", "check_explainer"]
