"""`python -m fuzz KIND --number N --seed S`: shake, print what came, write it where --out says."""

import argparse
import importlib
import json
import sys
import time
from datetime import date
from pathlib import Path

KINDS = ("calls", "commands", "damage", "folders", "threads", "kills")


def main() -> int:
    """Run one kind; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file that gets the figures, beside others")
    given = parser.parse_args()
    began = time.monotonic()
    tally = importlib.import_module(f"fuzz.{given.kind}").run(given.number, given.seed)
    told = {
        **tally.told(),
        "seed": given.seed,
        "date": date.today().isoformat(),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(told, indent=1))
    if given.out is not None:
        known = json.loads(given.out.read_text()) if given.out.exists() else {}
        given.out.write_text(json.dumps({**known, given.kind: told}, indent=1) + "\n")
    return bool(tally.failures)


if __name__ == "__main__":
    sys.exit(main())
