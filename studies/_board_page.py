"""The leaderboard's page, from cards alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from studies._page import table
from surefoot import models

_NUMBERS = {"accuracy": "accuracy", "PGD": "adversarial accuracy", "random signs": "random signs"}
_CLAIMS = {"accuracy": "accuracy", "adversarial accuracy": "PGD", "left under TopK": "left"}
Cards = Mapping[str, Mapping[str, Any]]

ABOUT = """# Leaderboard: which networks' maps hold?

Each row is a card of `models.cards()`; `models.load(NAME)` gives the network. **Left** is the
share of the k strongest places of a map that an attack leaves among them, a mean over {images} test
images that the network gets right; **best known** takes of each image the worst attack that anyone
has found. Read it beside random signs of the same size, and beside accuracy: a network that knows
little can have steady maps. PGD is accuracy under 20 steps of it. Claimed figures are those of
whoever trained it, on other images and by other settings. An *unreliable* row is not ranked, and
says why. With {images} images a mean has a standard error of about {error:.2f}: smaller gaps are
none.

```console
python -m studies.leaderboard add fashion-mnist/mine FOLDER --root DATA
python -m studies.leaderboard found fashion-mnist/mine FILE.npz --attack A --by WHO --root DATA
python -m studies.leaderboard page
```

`add` takes a folder that `surefoot train --export` or `models.save` wrote, measures the network,
writes its card, and puts its weights where they belong: beside the card up to 1 MB, else into
`zoo/`, the files of a release, from which `models.load` fetches on request. `found` takes the
changed images of a stronger attack, looks at each, and lowers the best known value. `page` makes
this page from the cards alone. What is looked at before a row counts as reliable: whether slopes by
differences and by double backward agree, whether PGD in five times the ball gets nearly everything
wrong, whether random signs do less than TopK, and what the ensemble warns of.
"""


def page(cards: Cards) -> str:
    """The whole page as Markdown."""
    ranked = {name: card for name, card in cards.items() if "standing" in card}
    parts = [_about(ranked).strip()]
    for data in dict.fromkeys(card["standing"]["threat"]["data"] for card in ranked.values()):
        own = {n: c for n, c in ranked.items() if c["standing"]["threat"]["data"] == data}
        parts += [f"## {data}", _threat(own), _rows(own), _told(own)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(cards: Cards) -> str:
    standings = [card["standing"] for card in cards.values()]
    each = [np.array(standing["best known"]["each"]) for standing in standings]
    error = np.mean([one.std(ddof=1) / np.sqrt(len(one)) for one in each])
    return ABOUT.format(images=standings[0]["measured"]["images"], error=error)


def _threat(cards: Cards) -> str:
    standing = next(iter(cards.values()))["standing"]
    told, attacks = standing["threat"], standing["measured"]["attacks"]
    lines = [f"- {name}: `{recipe}`" for name, recipe in attacks.items()]
    head = (
        f"Maps `{told['map']}`, in an L-infinity ball of {told['epsilon']:g}, k = {told['k']}. "
        "Kendall is under TopK, Gini of `Gradient()`."
    )
    return head + "\n\n" + "\n".join(lines)


def _rows(cards: Cards) -> str:
    attacks = list(next(iter(cards.values()))["standing"]["measured"]["left"])
    head = ["", "network", "**best known**", *attacks, *_NUMBERS, "Kendall", "Gini"]
    head += ["claimed", "weights"]
    rows = []
    for place, (name, card) in enumerate(_order(cards), 1):
        standing = card["standing"]
        measured = standing["measured"]
        rows.append(
            [
                "unreliable" if standing["unreliable"] else place,
                f"`{name}`",
                f"**{standing['best known']['left']:.3f}**",
                *(float(measured["left"][attack]) for attack in attacks),
                *(float(measured[entry]) for entry in _NUMBERS.values()),
                *(float(measured[entry]) for entry in ("kendall", "gini")),
                _claimed(standing["claimed"]),
                "in the package" if (models.ZOO / name / models.WEIGHTS).is_file() else "release",
            ]
        )
    return table(head, rows)


def _order(cards: Cards) -> list[tuple[str, Mapping[str, Any]]]:
    """The reliable ones first, by what the best known attack leaves."""
    return sorted(
        cards.items(),
        key=lambda one: (
            one[1]["standing"]["unreliable"] is not None,
            -one[1]["standing"]["best known"]["left"],
        ),
    )


def _claimed(claims: Mapping[str, float]) -> str:
    parts = [f"{word} {claims[name]:.3f}" for name, word in _CLAIMS.items() if name in claims]
    return ", ".join(parts)


def _told(cards: Cards) -> str:
    """How each came to be, who found its worst, and why it may mislead."""
    lines = []
    for name, card in _order(cards):
        standing = card["standing"]
        finders = standing["best known"]["found by"]
        found = ", ".join(f"{one} ({finders.count(one)})" for one in dict.fromkeys(finders))
        doubt = standing["unreliable"]
        flag = f" **Unreliable**: {doubt}." if doubt else ""
        lines.append(
            f"- **{name}**: {card['network']}{_settings(card)}, `{standing['method']}`, "
            f"{standing['source']}, by {standing['by']}. Worst found by {found}.{flag} "
            f"Made by `{card['command']}`; measured by `{standing['measured']['command']}`."
        )
    return "\n".join(lines)


def _settings(card: Mapping[str, Any]) -> str:
    told = {k: v for k, v in card["settings"].items() if k in ("widths", "hidden", "units")}
    return " (" + ", ".join(f"{k} {v}" for k, v in told.items()) + ")" if told else ""
