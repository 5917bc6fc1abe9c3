"""The reference: a page for each package, of what its `__all__` promises."""

import importlib
import inspect
from types import ModuleType
from typing import Any

PACKAGES = {
    "explain": "Explainers",
    "attack": "Attacks and budgets",
    "metric": "Metrics",
    "auditing": "Audits",
    "train": "Training",
    "decoy": "Decoys",
    "certify": "Certificates",
    "models": "Models",
    "data": "Data",
    "report": "Pictures and pages",
    "testing": "Checks for your own explainers",
    "errors": "Errors and warnings",
}
HEAD = """# Reference

Every public name, from the docstrings. Shapes are those of tensors; N counts samples. What is not
listed here is no promise.

| package | what is in it |
|---|---|"""


def pages() -> dict[str, str]:
    """Markdown by path: mkdocstrings fills in each name."""
    made = {f"reference/{name}.md": _page(name, title) for name, title in PACKAGES.items()}
    return made | {"reference/index.md": _index()}


def names(package: ModuleType) -> list[str]:
    """What a package promises, functions and classes first as they are listed, then the rest."""
    listed = getattr(package, "__all__", None)
    if listed is None:
        listed = [name for name, one in vars(package).items() if _own(package, one)]
    return sorted(listed, key=lambda name: (not inspect.isclass(getattr(package, name)), name))


def _own(package: ModuleType, one: Any) -> bool:
    public = inspect.isclass(one) or inspect.isfunction(one)
    return public and one.__module__ == package.__name__ and not one.__name__.startswith("_")


def first_line(one: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split()).replace("|", r"\|")


def _page(name: str, title: str) -> str:
    package = importlib.import_module(f"surefoot.{name}")
    told = (inspect.getdoc(package) or "").strip()
    lines = [f"# {title}: `surefoot.{name}`", "", told, ""]
    found = names(package)
    plain = [one for one in found if inspect.ismodule(getattr(package, one))]
    lines += ["| name | what it is |", "|---|---|"]
    lines += [
        f"| [`{one}`][surefoot.{name}.{one}] | {first_line(getattr(package, one))} |"
        for one in found
        if one not in plain and callable(getattr(package, one))
    ]
    for one in found:
        lines += ["", f"::: surefoot.{name}.{one}"]
        if one in plain:
            lines += ["    options:", "      members: true"]
    return "\n".join(lines) + "\n"


def _index() -> str:
    lines = [HEAD]
    for name in PACKAGES:
        package = importlib.import_module(f"surefoot.{name}")
        lines.append(f"| [`surefoot.{name}`]({name}.md) | {first_line(package)} |")
    lines += ["", "[The command line](command-line.md) has all options,"]
    lines += ["[recipes](recipes.md) how explainers, attacks and objectives are written as text."]
    return "\n".join(lines) + "\n"
