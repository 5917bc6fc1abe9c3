"""A study's page, from its result files alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    """

    name: str
    title: str
    about: str
    columns: Mapping[str, str]
    claims: Sequence[Claim]


def write(study: Study, results: Path, folder: Path) -> Path:
    """Write NAME.md into the folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study.name}.md"
    write_whole(path, page(study, load(results)).encode())
    return path


def page(study: Study, results: Results) -> str:
    """The whole page as Markdown."""
    sets = list(dict.fromkeys(data for data, _, _ in results))
    parts = [f"# {study.title}", study.about.strip(), _how(study)]
    for data in sets:
        own = of_data(results, data)
        parts += [f"## {data}", _claims(study, own), _networks(own), _maps(study, own)]
    parts += ["## Settings", _settings(results)]
    return "\n\n".join(parts) + "\n"


def _how(study: Study) -> str:
    return (
        f"`python -m studies {study.name}` makes what is missing, `--only DATA/ARM/SEED --again` "
        "one cell anew, `--page` this page. Intervals are 95 %, from a bootstrap that draws seeds "
        "and samples anew, on the test samples that every network of the data set gets right."
    )


def _claims(study: Study, results: Results) -> str:
    rows = []
    for claim in study.claims:
        verdict, effect = claim.verdict(results)
        seen = "" if effect is None else f"{effect}"
        size = "" if effect is None else f"{effect.seeds} x {effect.samples}"
        rows.append([claim.says, claim.source, f"**{verdict}**", seen, size])
    return table(["claim", "source", "verdict", "difference", "seeds x samples"], rows)


def _networks(results: Results) -> str:
    names = list(next(iter(results.values())).figures)
    rows = []
    for arm in arms(results):
        own = [found.figures for (_, name, _), found in results.items() if name == arm]
        rows.append(
            [arm, len(own), *(float(np.mean([one[name] for one in own])) for name in names)]
        )
    return table(["arm", "seeds", *names], rows)


def _maps(study: Study, results: Results) -> str:
    samples = shared(results)
    rows = []
    for arm in arms(results):
        places = [f"{arm} > {column}" for column in study.columns.values()]
        found = [per_sample(results, place, samples) for place in places]
        rows.append([arm, *(float(np.nanmean(each)) if each.size else "" for each in found)])
    head = f"On the {len(samples)} samples that all networks get right:"
    return head + "\n\n" + table(["arm", *study.columns], rows)


def _settings(results: Results) -> str:
    """What made each arm, from its first cell."""
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
