"""One page on an audit, made from its results alone: for whoever has to rely on the maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.auditing import AuditResult, Threat
from surefoot.errors import optional
from surefoot.report._page_curves import curves
from surefoot.report._page_gallery import gallery
from surefoot.report._page_tables import Numbers, ends, number, tables
from surefoot.report._page_words import facts, question, verdicts

_TEMPLATES = Path(__file__).parent / "templates"


def audit_page(*results: AuditResult) -> str:
    """The page, one self-contained HTML file without scripts; several audits side by side.

    Args:
        results: one audit, or those to be compared.

    Raises:
        MissingExtraError: jinja2, pandas or matplotlib is not installed.

    >>> import torch
    >>> from surefoot import audit, explain
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Linear(6, 2).eval()
    >>> inputs = torch.rand(8, 6)
    >>> data = [(inputs, net(inputs).argmax(1))]
    >>> page = audit_page(audit(net, data, explainers=[explain.Gradient()], metrics=["gini"]))
    >>> page.lower().startswith("<!doctype html>"), "<script" in page
    (True, False)
    """
    audits = [
        _audit(result, chr(ord("A") + place) if len(results) > 1 else "")
        for place, result in enumerate(results)
    ]
    jinja = optional("jinja2", "audit")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": number, "ends": ends}
    page: str = environment.get_template("audit.html").render(
        audits=audits,
        title=question(results[0].settings) if len(results) == 1 else "Audits side by side",
        shared=_shared(audits),
    )
    return page


@dataclass(frozen=True)
class Audit:
    """What the template shows of one audit; every text is escaped there."""

    letter: str
    question: str
    verdicts: Any
    facts: Any
    tables: Any
    curves: Any
    gallery: Any
    numbers: Numbers
    threats: Any
    bold: bool
    left_out: bool
    settings: Mapping[str, Any]


def _audit(result: AuditResult, letter: str) -> Audit:
    numbers = Numbers.of(result)
    shown = tables(result, numbers)
    cells = [c for one in shown for line in one["lines"] for c in line["cells"] if c is not None]
    return Audit(
        letter,
        question(result.settings),
        verdicts(numbers),
        facts(result.settings, numbers),
        shown,
        curves(numbers),
        gallery(result, numbers),
        numbers,
        _threats(numbers),
        any(cell["best"] for cell in cells),
        any(cell["dropped"] for cell in cells),
        {"about": {}, **result.settings},
    )


def _threats(numbers: Numbers) -> list[tuple[str, dict[str, str]]]:
    """The threat model of each attack, controls included."""
    found: dict[str, dict[str, str]] = {}
    for row in numbers.rows:
        if row["attack"] != "clean":
            found.setdefault(row["attack"], {name: row[name] for name in Threat._fields})
    return [(numbers.label(attack), threat) for attack, threat in found.items()]


def _shared(audits: Sequence[Audit]) -> list[dict[str, Any]]:
    """What all audits measured, with the mean of each."""
    if len(audits) < 2:
        return []
    known = [
        {(r["explainer"], r["attack"], r["metric"]): r for r in audit.numbers.rows}
        for audit in audits
    ]
    keys = [key for key in known[0] if all(key in other for other in known[1:])]
    return [
        {"explainer": key[0], "attack": key[1], "metric": key[2], "rows": [k[key] for k in known]}
        for key in keys
        if not known[0][key]["control"]
    ]
