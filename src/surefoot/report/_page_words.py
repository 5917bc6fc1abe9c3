"""An audit in plain words: the question, a verdict on each explainer, the settings."""

import math
from collections.abc import Mapping
from typing import Any

from surefoot.report._page_tables import Numbers, ends, number

# Shares of an unchanged map's score; this project's choice, said on the page.
HOLDS, WEAKENS = 0.8, 0.5
FEW = 20


def question(settings: Mapping[str, Any]) -> str:
    """What was asked."""
    about = settings.get("about", {})
    model = about.get("model") or " and ".join(settings["models"])
    return (
        f"Does {model} give the same reasons for the same answer when its input changes by less "
        "than matters?"
    )


def verdicts(numbers: Numbers) -> dict[str, Any]:
    """A sentence on all explainers, and one on each."""
    each = [
        _verdict(numbers, model, explainer)
        for model in numbers.models
        for explainer in numbers.explainers
    ]
    kinds = [one["kind"] for one in each]
    counts = {kind: kinds.count(kind) for kind in ("holds", "weakens", "does not hold")}
    plural = {"holds": "hold", "weakens": "weaken", "does not hold": "do not hold"}
    parts = [f"{n} {plural[word] if n > 1 else word}" for word, n in counts.items() if n]
    several = len(numbers.models) > 1
    what = "pairs of model and explainer" if several else "explainers"
    whole = f"Of {len(each)} {what}, under the attack that each withstands least: "
    whole = whole + ", ".join(parts) + "." if parts else "No similarity was measured: no verdict."
    few = ""
    if numbers.samples < FEW:
        few = (
            f"Only {numbers.samples} samples (of {numbers.seen} that were looked at, those that "
            f"the model gets right): fewer than {FEW} tell little, and the intervals are rough. "
            "Take this as a trial."
        )
    measure = f"What is left is measured by {numbers.main}: {numbers.measure}."
    told = {"measure": measure if numbers.main else ""}
    return {"whole": whole, **told, "each": each, "few": few}


def _verdict(numbers: Numbers, model: str, explainer: str) -> dict[str, Any]:
    name = f"{model}: {explainer}" if len(numbers.models) > 1 else explainer
    rows = [
        row
        for attack in numbers.attacks
        if (row := numbers.find(model, explainer, attack, numbers.main or "")) is not None
        and row["goal"] != "none"
        and not math.isnan(row["mean"])
    ]
    if not rows:
        return {"name": name, "kind": "", "text": "was not attacked: no verdict."}
    worst = min(rows, key=lambda row: row["mean"])
    share = worst["mean"] / worst["ceiling"]
    kind = "holds" if share >= HOLDS else "weakens" if share >= WEAKENS else "does not hold"
    said = f" ({ends(worst)})" if ends(worst) else ""
    floor = ""
    if not math.isnan(worst["floor"]):
        floor = f"; random changes of the same size leave {number(worst['floor'])}"
    text = (
        f"{kind}. Under {numbers.label(worst['attack'])}, {number(worst['mean'])}{said} of "
        f"{number(worst['ceiling'])} is left{floor}.{_natural(numbers, model, explainer)}"
    )
    return {"name": name, "kind": kind, "text": text}


def _natural(numbers: Numbers, model: str, explainer: str) -> str:
    """What changes that nobody intends leave."""
    found = [
        (attack, row["mean"])
        for attack in numbers.attacks
        if (row := numbers.find(model, explainer, attack, numbers.main or "")) is not None
        and row["goal"] == "none"
        and not math.isnan(row["mean"])
    ]
    told = ", ".join(f"{attack} leaves {number(mean)}" for attack, mean in found)
    return f" Without any intent, {told}." if told else ""


def facts(settings: Mapping[str, Any], numbers: Numbers) -> list[tuple[str, list[str]]]:
    """The settings, each with its lines."""
    attacks = {numbers.label(name): recipe for name, recipe in settings["attacks"].items()}
    about, samples = settings.get("about", {}), settings["samples"]
    right = ", ".join(
        f"{name} gets {count} of {samples['seen']} right"
        for name, count in samples["correct"].items()
    )
    together = f"; {samples['correct_for_all']} all of them" if len(samples["correct"]) > 1 else ""
    failed = settings.get("failed", 0)
    found = [
        (
            "Model",
            [about.get("model") or ", ".join(m["type"] for m in settings["models"].values())],
        ),
        ("Data", [about.get("data") or settings["data"].get("name") or "as given by the caller"]),
        (
            "Samples",
            [
                f"{samples['used']} audited, only samples that are classified correctly: {right}"
                f"{together}",
                *([f"something failed on {failed} of them"] if failed else []),
            ],
        ),
        ("Explainers", [f"{name}: {recipe}" for name, recipe in settings["explainers"].items()]),
        ("Attacks", [f"{name}: {recipe}" for name, recipe in attacks.items()]),
        ("Scores", [m["metric"].removesuffix("()") for m in settings["metrics"].values()]),
        ("Maps", [f"one number a place: {settings['reduction']} over the channels"]),
    ]
    return [(name, lines) for name, lines in found if lines]
