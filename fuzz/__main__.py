"""`python -m fuzz KIND --number N --seed S`: shake, print what came, write it where --out says."""

import argparse
import importlib
import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

KINDS = ("calls", "commands", "damage", "folders", "threads", "interrupts", "kills")


def main() -> int:
    """Run one kind; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to whose figures they are added")
    given = parser.parse_args()
    began = time.monotonic()
    tally = importlib.import_module(f"fuzz.{given.kind}").run(given.number, given.seed)
    told = {
        **tally.told(),
        "seeds": [given.seed],
        "dates": [date.today().isoformat()],
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(told, indent=1))
    if given.out is not None:
        known = json.loads(given.out.read_text()) if given.out.exists() else {}
        known[given.kind] = added(known.get(given.kind, {}), told)
        given.out.write_text(json.dumps(known, indent=1) + "\n")
    return bool(tally.failures)


def added(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The figures of two turns of one kind, each from a seed of its own.

    >>> added({"calls": 3, "seeds": [0], "kinds": {}}, {"calls": 2, "seeds": [7], "kinds": {}})
    {'calls': 5, 'seeds': [0, 7], 'kinds': {}}
    """
    if more["seeds"][0] in before.get("seeds", []):
        raise SystemExit(f"seed {more['seeds'][0]} is among those that were counted; take another")
    whole = dict(more)
    for name, value in before.items():
        if isinstance(value, dict):
            whole[name] = {**value, **more[name]}
        else:
            whole[name] = value + more[name]
    whole |= {"dates": sorted(set(whole["dates"]))} if "dates" in whole else {}
    return whole


if __name__ == "__main__":
    sys.exit(main())
