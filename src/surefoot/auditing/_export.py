"""The summary of an audit as a file for other programs and for papers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.errors import SurefootError
from surefoot.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "model",
    "explainer",
    "attack",
    "metric",
    "mean",
    "low",
    "high",
    "n",
    "floor",
    "ceiling",
)
_TEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def write(path: str | Path, table: "pd.DataFrame", settings: Mapping[str, Any]) -> None:
    """The summary in the form that the file's name ends in.

    Raises:
        SurefootError: another ending, or the file cannot be written.
    """
    form = FORMS.get(Path(path).suffix.lower())
    if form is None:
        raise SurefootError(f"cannot export to {path}; its name must end in {' or '.join(FORMS)}")
    write_whole(path, form(table, settings).encode())


def _csv(table: "pd.DataFrame", _settings: Mapping[str, Any]) -> str:
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _json(table: "pd.DataFrame", settings: Mapping[str, Any]) -> str:
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    return json.dumps({"settings": dict(settings), "summary": rows}, indent=1) + "\n"


def _markdown(table: "pd.DataFrame", _settings: Mapping[str, Any]) -> str:
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in _lines(table)]
    rule = ["---"] * len(lines[0])
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def _latex(table: "pd.DataFrame", _settings: Mapping[str, Any]) -> str:
    """A tabular of the booktabs package."""
    head, *rest = (
        " & ".join("".join(_TEX.get(char, char) for char in cell) for cell in line)
        for line in _lines(table)
    )
    form = "llll" + "r" * (len(_COLUMNS) - 4)
    body = "".join(f"{line} \\\\\n" for line in rest)
    return (
        f"\\begin{{tabular}}{{{form}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n"
    )


def _lines(table: "pd.DataFrame") -> list[list[str]]:
    rows = table[list(_COLUMNS)].itertuples(index=False, name=None)
    return [list(_COLUMNS), *([_text(value) for value in row] for row in rows)]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"  # noqa: PLR0124 (NaN)
    return str(value)


FORMS: Mapping[str, Callable[["pd.DataFrame", Mapping[str, Any]], str]] = {
    ".csv": _csv,
    ".json": _json,
    ".md": _markdown,
    ".tex": _latex,
}
