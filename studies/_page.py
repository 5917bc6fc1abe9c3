"""A study's page, from its result files alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studies._boxes import Panels, boxes
from studies._cells import load
from studies._claims import Claim, Results, arms, of_data, per_sample, shared
from surefoot.files import write_whole

PAGES = Path("docs/studies")


@dataclass(frozen=True)
class Study:
    """What a page needs to know beside the results.

    Attributes:
        name: of its module and folder.
        title: of the page.
        about: the setting, in plain words.
        columns: title to "explainer | attack | metric".
        claims: tested on each data set.
        differs: what is otherwise than in the paper.
        panels: of the box plots, from the results of one data set; None draws none.
    """

    name: str
    title: str
    about: str
    columns: Mapping[str, str]
    claims: Sequence[Claim]
    differs: Sequence[str] = ()
    panels: Callable[[Results], Panels] | None = None


def write(study: Study, results: Path, folder: Path) -> Path:
    """Write NAME.md and its box plots into the folder; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, found = folder / f"{study.name}.md", load(results)
    for data in _sets(found):
        drawn = None if study.panels is None else boxes(study.panels(of_data(found, data)))
        if drawn is not None:
            write_whole(folder / _picture(study, data), drawn)
    write_whole(path, page(study, found).encode())
    return path


def _sets(results: Results) -> list[str]:
    return list(dict.fromkeys(data for data, _, _ in results))


def _picture(study: Study, data: str) -> str:
    return f"{study.name}-{data}.webp"


def page(study: Study, results: Results) -> str:
    """The whole page as Markdown."""
    parts = [f"# {study.title}", study.about.strip(), _how(study)]
    if study.differs:
        listed = "\n".join(f"- {one}" for one in study.differs)
        parts += ["What is otherwise than in the paper:", listed]
    for data in _sets(results):
        own = of_data(results, data)
        parts += [f"## {data}", _claims(study, own), _networks(own), _maps(study, own)]
        parts += [] if study.panels is None else [_drawn(study, data)]
    parts += ["## Settings", _settings(results)]
    return "\n\n".join(parts) + "\n"


def _how(study: Study) -> str:
    return (
        f"`python -m studies {study.name}` makes what is missing, `--only DATA/ARM/SEED --again` "
        "one cell anew, `--page` this page. Intervals are 95 %, from a bootstrap that draws seeds "
        "and samples anew, on the test samples that every network of the data set gets right."
    )


def _drawn(study: Study, data: str) -> str:
    alt = f"Box plots of the values of each arm on {data}, sample by sample; the tables have means"
    return f"![{alt}.]({_picture(study, data)})"


def _claims(study: Study, results: Results) -> str:
    rows, untold = [], []
    for claim in study.claims:
        verdict, effect = claim.verdict(results)
        if effect is None:
            untold.append(claim.says)
            continue
        size = f"{effect.seeds} x {effect.samples}"
        rows.append([claim.says, claim.source, f"**{verdict}**", f"{effect}", size])
    head = ["claim", "source", "verdict", "difference", "seeds x samples"]
    parts = [table(head, rows)] if rows else []
    parts += [_folded(untold)] if untold else []
    return "\n\n".join(parts)


def _folded(untold: Sequence[str]) -> str:
    head = f"Not testable here, for want of cells ({len(untold)})"
    return f"<details><summary>{head}</summary>{'; '.join(untold)}.</details>"


def _networks(results: Results) -> str:
    names = list(next(iter(results.values())).figures)
    rows = []
    for arm in arms(results):
        own = [found.figures for (_, name, _), found in results.items() if name == arm]
        rows.append([arm, len(own), *(_mean([one[name] for one in own]) for name in names)])
    return table(["arm", "seeds", *names], rows)


def _mean(values: Sequence[float]) -> float | int:
    mean = float(np.mean(values))
    return int(mean) if all(isinstance(value, int) for value in values) else mean


def _maps(study: Study, results: Results) -> str:
    """Means by arm, of the columns that this data set has."""
    samples = shared(results)
    names, found = arms(results), {}
    for title, column in study.columns.items():
        each = [per_sample(results, f"{arm} > {column}", samples) for arm in names]
        if any(one.size for one in each):
            found[title] = [float(np.nanmean(one)) if one.size else "" for one in each]
    rows = [[arm, *(column[row] for column in found.values())] for row, arm in enumerate(names)]
    head = f"On the {len(samples)} samples that all networks get right:"
    return head + "\n\n" + table(["arm", *found], rows)


def _settings(results: Results) -> str:
    """What made each arm, from its first cell; its name and a seed are what `--only` takes."""
    first: dict[str, Mapping[str, Any]] = {}
    for (data, arm, _), found in results.items():
        first.setdefault(f"{data}/{arm}", found.facts)
    return "\n".join(f"- **{name}**: {_told(facts)}" for name, facts in first.items())


def _told(facts: Mapping[str, Any]) -> str:
    parts = []
    for name, fact in facts.items():
        inside = [f"{key} `{one}`" for key, one in fact.items()] if isinstance(fact, dict) else []
        parts.append(f"{name}: {', '.join(inside) or f'`{fact}`'}")
    return "; ".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown."""
    text = [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *text])
