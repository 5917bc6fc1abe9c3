"""Explanations as parts of a page, which show themselves in notebooks and are read aloud."""

from collections.abc import Sequence
from typing import Any

from surefoot.attack import AttackResult
from surefoot.errors import SurefootError
from surefoot.explain import Explanation, Sentences
from surefoot.report import _words
from surefoot.report._attack_picture import attack_picture
from surefoot.report._attacked import Attacked
from surefoot.report._embed import image, words
from surefoot.report._panel import Panel
from surefoot.report._picture import NOTEBOOK_ROWS, first, make_panel, parts, picture, spoken
from surefoot.report._pieces import Word, reach, sentence
from surefoot.report._records import ordered
from surefoot.report._sentences import colour
from surefoot.report._text import printable

_TABLE = "border-collapse:collapse;font-size:90%"


def html(explanation: Explanation | Sentences, **choices: Any) -> str:
    """The explanation as a part of a page, without scripts or anything from elsewhere.

    Images, volumes and signals are a picture with its text for screen readers; sentences are
    coloured words, records a picture, and both have all their numbers in a table.

    Args:
        explanation: from `explainer.explain(...)` or `explain.sentences(...)`; the first eight
            samples are shown.
        choices: those of `surefoot.report.picture`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: as `surefoot.report.picture`.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    >>> html(Gradient().explain(net, torch.rand(1, 3, 4, 4)))[:4]
    '<img'
    """
    said = spoken(explanation, choices.get("features"), NOTEBOOK_ROWS)
    explanation, choices["features"] = said
    several = parts(explanation)
    if len(several) > 1:
        told = choices.pop("features", None) or [None] * len(several)
        each = zip(several, told, strict=True)
        return "".join(html(part, features=names, **choices) for part, names in each)
    panel = make_panel(first(explanation, NOTEBOOK_ROWS), **choices)
    if panel.layout == "tokens" and panel.features is not None:
        return _sentences(panel)
    drawn = picture(first(explanation, NOTEBOOK_ROWS), **choices)
    shown = image(drawn._repr_png_(), drawn.alt)
    return shown + (_records(panel) if panel.layout == "record" else "")


def terminal(explanation: Explanation | Sentences, **choices: Any) -> str:
    """Sentences as coloured words for a terminal of true colour; special tokens are dim.

    Args:
        explanation: from `explain.sentences(...)`, or of tokens (N, T, D).
        choices: those of `surefoot.report.picture`; of tokens `features`, their words, among them.

    Raises:
        SurefootError: no sentences.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> from surefoot.models import Classifier
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    >>> net = Classifier(net, layout="tokens").eval()
    >>> found = Gradient().explain(net, torch.rand(1, 3, 4))  # three tokens
    >>> text = terminal(found, features=["so", "good", "!"])
    >>> all(word in text for word in ("so", "good", "!"))
    True
    """
    explanation, choices["features"] = spoken(explanation, choices.get("features"))
    panel = make_panel(explanation, **choices)
    if panel.layout != "tokens" or panel.features is None:
        raise SurefootError("expected an explanation of tokens, with their texts as features=")
    lines = []
    for row in range(panel.rows):
        found = sentence(panel, row, panel.explanation.attributions)
        most = reach(found)
        lines.append(printable(panel.title(row)))
        lines.append(" ".join(_coloured(word, most, panel) for word in found))
    return "\n".join(lines)


def attacked_html(result: Attacked | AttackResult) -> str | None:
    """An attack's result: its picture where there is one, and its scores in a table."""
    attacked = Attacked.of(result)
    heads = ["", *attacked.heads(), "prediction kept"]
    rows = []
    for row in range(min(len(attacked.result), 50)):
        who, cells = attacked.scores(row)[0]
        name = attacked.name(row) or f"sample {row + 1}"
        rows.append([f"{name}: {who}", *cells, "yes" if attacked.kept(row) else "no"])
    table = _table(heads, rows, printable(repr(attacked.result)))
    try:
        few = Attacked.of(attacked.result[:4]) if len(attacked.result) > 4 else attacked
        drawn = attack_picture(few)
    except SurefootError:
        return table
    return image(drawn._repr_png_(), drawn.alt) + table


def _sentences(panel: Panel) -> str:
    made = []
    for row in range(panel.rows):
        made.append(f"<p><b>{words(panel.headline(row))}</b></p>")
        for column in panel.columns():
            found = sentence(panel, row, column.values)
            most = reach(found)
            spans = " ".join(_span(word, most, panel) for word in found)
            made.append(f'<p style="line-height:2">{words(column.head)}: {spans}</p>')
    rows = [
        [word.text, f"{word.value:+.3g}", "special token" if word.special else ""]
        for row in range(panel.rows)
        for word in sentence(panel, row, panel.explanation.attributions)
    ]
    table = _table(["word", "attribution", ""], rows, "Attributions of all words")
    return "".join(made) + _folded("all numbers", table) + _told(panel)


def _span(word: Word, most: float, panel: Panel) -> str:
    back, ink = colour(word, most, panel.look.signed_colours)
    style = f"background:{back};color:{ink};padding:0.15em 0.25em;border-radius:0.2em"
    text = words(word.text)
    return f'<span style="{style}" title="{word.value:+.3g}">{text}</span>'


def _coloured(word: Word, most: float, panel: Panel) -> str:
    if word.special:
        return f"\x1b[2m{printable(word.text)}\x1b[0m"
    back, ink = (
        ";".join(str(int(code[place : place + 2], 16)) for place in (1, 3, 5))
        for code in colour(word, most, panel.look.signed_colours)
    )
    return f"\x1b[48;2;{back};38;2;{ink}m{printable(word.text)}\x1b[0m"


def _records(panel: Panel) -> str:
    rows = []
    for row in range(panel.rows):
        name = panel.name(row) or f"sample {row + 1}"
        for field, value in zip(*ordered(panel, row), strict=True):
            rows.append([name, field, f"{value:+.4g}"])
    table = _table(["sample", "field", "attribution"], rows, "All fields, the largest first")
    return _folded(f"all {panel.explanation.inputs.shape[1]} fields", table)


def _told(panel: Panel) -> str:
    recipe, _ = _words.caption(panel, [])
    model = f"; model: {panel.explanation.model}" if panel.explanation.model else ""
    return f'<p style="font-size:80%"><code>{words(recipe)}</code>{words(model)}</p>'


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{words(title)}</summary>{content}</details>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{words(cell)}</th>' for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{words(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<table style="{_TABLE}"><caption>{words(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
