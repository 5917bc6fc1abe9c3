"""What checks find, as a table."""

from dataclasses import dataclass

from surefoot.errors import SurefootError
from surefoot.explain import Explainer


@dataclass(frozen=True)
class Check:
    """One property: what was measured, the limit it is held to, and whether it passed.

    Attributes:
        name: of the property.
        value: the measured number, or None where there is nothing to measure.
        threshold: the largest value that passes, or None for a number that is only reported.
        passed: whether it did.
        note: what the number means here.

    >>> limited("completeness", 2e-6, 1e-4, "sum of the map against the change of the score").passed
    True
    """

    name: str
    value: float | None
    threshold: float | None
    passed: bool
    note: str


@dataclass(frozen=True, repr=False)
class Report:
    """What `check_explainer` found; shows itself as a table.

    >>> from surefoot.explain import Gradient
    >>> report = Report(Gradient(), (limited("repeatable", 0.0, 0.0, "two calls agree"),))
    >>> report.passed, report["repeatable"].value
    (True, 0.0)
    """

    explainer: Explainer
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise SurefootError(f"no check {name!r}; there are {[c.name for c in self.checks]}")

    def __repr__(self) -> str:
        lines = [f"{'passed' if self.passed else 'FAILED'}: {self.explainer!r}"]
        for check in self.checks:
            value = "-" if check.value is None else f"{check.value:.2g}"
            limit = "" if check.threshold is None else f"<= {check.threshold:.2g}"
            verdict = "ok" if check.passed else "FAILED"
            lines.append(f"  {check.name:<18} {verdict:<7} {value:>8} {limit:<10} {check.note}")
        return "\n".join(lines)


def limited(name: str, value: float, threshold: float, note: str) -> Check:
    """A check that passes up to a threshold; NaN fails."""
    return Check(name, value, threshold, value <= threshold, note)
