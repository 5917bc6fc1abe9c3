"""The page of recipes: their grammar, and every name with its settings."""

import inspect
from typing import Any

import surefoot.auditing.natural
from pages.reference import first_line
from surefoot import attack, explain, train

HEAD = """# Recipes: settings as text

An explainer, an attack, a budget and an objective is a frozen set of settings. Its `repr` is its
recipe, and the recipe is read back by `explain.parse`, `attack.parse` and `train.parse`, by every
option of [the command line](command-line.md) that says RECIPE, and by YAML files. Nothing in it is
evaluated, so text of strangers is safe.

```python
from surefoot import attack, explain, train

robust = explain.parse("Decoy(SmoothGrad(Gradient(), samples=20), decoys=32)")
assert explain.parse(repr(robust)) == robust
strong = attack.parse("TopK(Linf(4/255, steps=20), k=0.05)")
loss = train.parse("SCAAT(epsilon=4/255)")
```

## Grammar

```text
recipe   = NAME                                 its defaults
         | NAME "(" [ value { "," value } ] ")"
value    = [ SETTING "=" ] ( recipe | number | string | "True" | "False" | "None"
         | "(" values ")" | "[" values "]" | "{" string ":" value, ... "}" )
number   = digits as in Python, "inf", "nan", "-" number, number "/" number
string   = as in Python, in single or double quotes
```

- Settings by position come first, as in Python; each setting stands once.
- Fractions are for sizes of changes: `4/255`.
- What holds a tensor or a function cannot be read from text alone: `explain.to_json` and
  `explain.from_json` store those, tensors by digest, functions by their import path.
- A name or a setting that does not exist is answered with those that do, closest first.
"""
FAMILIES = (
    ("Explainers", "explain", explain.EXPLAINERS),
    ("Attacks and budgets", "attack", attack.ATTACKS),
    ("Natural changes", "auditing.natural", surefoot.auditing.natural.CHANGES),
    ("Training objectives", "train", train.OBJECTIVES),
)


def pages() -> dict[str, str]:
    """Markdown by path."""
    lines = [HEAD]
    for title, package, family in FAMILIES:
        lines += [f"## {title}", "", "| recipe with its defaults | what it is |", "|---|---|"]
        lines += [
            f"| [`{name}`][surefoot.{package}.{name}]`{_settings(kind)}` | {first_line(kind)} |"
            for name, kind in family.known().items()
        ]
        lines.append("")
    return {"reference/recipes.md": "\n".join(lines)}


def _settings(kind: Any) -> str:
    """Its settings with their defaults, without types."""
    plain = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in inspect.signature(kind).parameters.values()
    ]
    return str(inspect.Signature(plain)).replace("|", r"\|")
