"""What a card says of a network's place on the leaderboard, and what cannot be true of it."""

from collections.abc import Mapping
from typing import Any

from surefoot.errors import SurefootError
from surefoot.files import check_entries

_SHARE = float | int
STANDING: Mapping[str, Any] = {
    "method": str,
    "by": str,
    "source": str,
    "threat": {"data": str, "norm": str, "epsilon": float, "k": int, "map": str},
    "claimed": dict[str, _SHARE],
    "measured": {
        "images": int,
        "accuracy": _SHARE,
        "adversarial accuracy": _SHARE,
        "kendall": _SHARE,
        "gini": _SHARE,
        "left": dict[str, _SHARE],
        "random signs": _SHARE,
        "attacks": dict[str, str],
        "checks": dict[str, _SHARE],
        "command": str,
        "versions": dict[str, str],
    },
    "best known": {"left": _SHARE, "each": list[_SHARE], "found by": list[str]},
    "unreliable": str | None,
}
_EXACT = 1e-4


def check_standing(standing: Any, where: object) -> None:
    """Raise unless it has the entries of a leaderboard, and they agree with one another.

    Raises:
        SurefootError: an entry is missing, of another type, no share, or contradicts another.
    """
    if not isinstance(standing, Mapping):
        raise SurefootError(f"{where}: standing is {standing!r}, expected an object")
    check_entries(standing, STANDING, f"{where}: standing")
    measured, best = standing["measured"], standing["best known"]
    shares = {name: measured[name] for name in ("accuracy", "adversarial accuracy", "random signs")}
    shares |= {f"left under {name}": value for name, value in measured["left"].items()}
    shares |= {"best known": best["left"]}
    shares |= {f"best known of image {i}": value for i, value in enumerate(best["each"])}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise SurefootError(f"{where}: {name} is {value}, expected a share in [0, 1]")
    each = best["each"]
    if not len(each) == len(best["found by"]) == measured["images"]:
        raise SurefootError(
            f"{where}: best known tells of {len(each)} images and {len(best['found by'])} finders, "
            f"and {measured['images']} images were measured"
        )
    if abs(sum(each) / max(1, len(each)) - best["left"]) > _EXACT:
        raise SurefootError(f"{where}: best known is not the mean of its images")
    lowest = min(measured["left"].values(), default=1.0)
    if best["left"] > lowest + _EXACT:
        raise SurefootError(
            f"{where}: best known leaves {best['left']}, and a measured attack {lowest}: the best "
            "known is the worst of all"
        )
    if standing["unreliable"] == "":
        raise SurefootError(f"{where}: unreliable is empty, expected the reason or null")
