"""An attack from its options: a name or a short recipe, a budget, and numbers such as 1/255."""

import ast
import math
from argparse import ArgumentTypeError
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from surefoot import attack
from surefoot.attack import AttributionAttack, Budget
from surefoot.errors import SurefootError, suggest
from surefoot.maps import Reduction

ATTACKS: dict[str, type[AttributionAttack]] = {
    kind.__name__: kind
    for kind in (
        attack.TopK,
        attack.MassCenter,
        attack.Target,
        attack.Dissimilarity,
        attack.Manipulation,
        attack.RandomSign,
    )
}
DEFAULT_STEPS = 15
_BUDGETS: dict[str, type[Budget]] = {"linf": attack.Linf, "l2": attack.L2}
_RECIPE = ("proxy", "output_weight", "stop_at", "second_order", "difference", "refresh", "subset")


class UnreadableError(ArgumentTypeError, ValueError):
    """Text that is not what an option takes; argparse shows the one, config files the other."""


def number(text: str | float) -> float:
    """A number, also written as a fraction.

    >>> number("1/255") == 1 / 255, number("4e-3"), number(2)
    (True, 0.004, 2.0)
    """
    top, *bottom = str(text).split("/", 1)
    try:
        return float(top) / float(*bottom) if bottom else float(top)
    except (ValueError, ZeroDivisionError):
        raise UnreadableError(f"{text!r}, expected a number such as 0.004 or 1/255") from None


def sharpness(text: str | float) -> str | float:
    """`--beta`: a number, "auto" or "none"."""
    if text in ("auto", "none"):
        return text
    try:
        return float(text)
    except ValueError:
        raise UnreadableError(f"{text!r}, expected a number, auto or none") from None


def add_attack_options(options: ArgumentParser) -> None:
    """The options that `make_attack` and `make_controls` read."""
    _add_attack(options)
    _add_budget(options)


def _add_attack(options: ArgumentParser) -> None:
    options.add_argument(
        "--attack",
        type=str,
        default="TopK",
        metavar="NAME",
        help=f"{', '.join(ATTACKS)}; with settings that have no option here as "
        "Dissimilarity(proxy='pearson') or TopK(second_order='exact')",
    )
    options.add_argument(
        "--towards",
        type=str,
        metavar="PHOTO",
        help="whose map Manipulation makes the map look like",
    )
    options.add_argument(
        "--k",
        type=int | float,
        help="places of TopK and of the score, or their share below 1 (default: 1000, or a tenth "
        "of a map with fewer than 10000)",
    )
    options.add_argument(
        "--reduction", type=Reduction, default="sum_abs", help="of a map's channels"
    )
    options.add_argument(
        "--beta",
        type=sharpness,
        default="auto",
        help="of the softplus in place of ReLU during the search: a number, none, or auto",
    )
    options.add_argument("--seed", type=int, default=0, help="of random starts and signs")
    options.add_argument(
        "--control-draws", type=int, default=3, metavar="N", help="random signs to average over"
    )


def _add_budget(options: ArgumentParser) -> None:
    options.add_argument(
        "--norm", type=Literal["linf", "l2"], default="linf", help="of the perturbation"
    )
    options.add_argument(
        "--epsilon",
        type=number,
        metavar="E",
        help="its largest size, as 0.004 or 1/255 (default: 1/255 for linf; for l2 the length of "
        "1/255 in every entry)",
    )
    options.add_argument(
        "--steps",
        type=int,
        default=DEFAULT_STEPS,
        help="gradient steps of a run; with the default network and explainer, 15 take well under "
        "a minute a photograph on two cores; more do more damage",
    )
    options.add_argument(
        "--step-size", type=number, metavar="E", help="of a step (default: falls from epsilon)"
    )
    options.add_argument("--restarts", type=int, default=1, help="runs, of which the best is kept")


def make_attack(settings: Any) -> AttributionAttack:
    """The attack that the options describe; its budget is that of `make_budget`.

    Raises:
        SurefootError: an attack or a setting that does not exist, a number out of its range.
    """
    name, recipe = _read(settings.attack)
    if name not in ATTACKS:
        raise SurefootError(f"attack {name!r} is unknown; {suggest(name, ATTACKS)}")
    kind = ATTACKS[name]
    if (name == "Manipulation") != (settings.towards is not None):
        raise SurefootError("--attack Manipulation needs --towards PHOTO, and nothing else does")
    _check_recipe(kind, recipe)
    if settings.seed < 0:
        raise SurefootError(f"--seed={settings.seed}, expected a number >= 0")
    chosen = {"none": {"beta": None}, "auto": {}}.get(settings.beta, {"beta": settings.beta})
    return kind(
        make_budget(settings),
        k=settings.k,
        reduction=settings.reduction,
        seed=settings.seed,
        **chosen,
        **recipe,
    )


def make_controls(settings: Any) -> list[attack.RandomSign]:
    """Random signs of the same size, as many as the options say; none beside random signs."""
    if settings.control_draws < 1:
        raise SurefootError(f"--control-draws={settings.control_draws}, expected at least 1")
    if _read(settings.attack)[0] == "RandomSign":
        return []
    budget = replace(make_budget(settings), restarts=1)
    return [
        attack.RandomSign(budget, k=settings.k, reduction=settings.reduction, seed=seed)
        for seed in range(settings.seed, settings.seed + settings.control_draws)
    ]


def make_budget(settings: Any) -> Budget:
    """The budget that the options describe.

    Raises:
        SurefootError: a number out of its range.
    """
    most = 1 if settings.norm == "linf" else math.inf
    if not 0 < settings.epsilon <= most or math.isinf(settings.epsilon):
        limit = "in (0, 1]" if most == 1 else "above 0"
        raise SurefootError(
            f"--epsilon={settings.epsilon:g}, expected a number {limit}, such as 1/255"
        )
    if settings.step_size is not None and not 0 < settings.step_size < math.inf:
        raise SurefootError(f"--step-size={settings.step_size:g}, expected a positive number")
    for name in ("steps", "restarts"):
        if getattr(settings, name) < 1:
            raise SurefootError(f"--{name}={getattr(settings, name)}, expected at least 1")
    return _BUDGETS[settings.norm](
        settings.epsilon,
        steps=settings.steps,
        step_size=settings.step_size,
        restarts=settings.restarts,
    )


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """`Name` or `Name(setting=literal, ...)`, without evaluating anything."""
    try:
        match ast.parse(text.strip(), mode="eval").body:
            case ast.Name(id=name):
                return name, {}
            case ast.Call(func=ast.Name(id=name), args=[], keywords=words) if all(
                word.arg for word in words
            ):
                return name, {str(word.arg): ast.literal_eval(word.value) for word in words}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    raise SurefootError(
        f"cannot read the attack {text[:80]!r}; write a name such as TopK, or with settings "
        "Dissimilarity(proxy='pearson')"
    )


def _check_recipe(kind: type[AttributionAttack], recipe: dict[str, Any]) -> None:
    """Raise unless each setting is one that has no option of its own, and of the right type."""
    hints = get_type_hints(kind)
    known = [name for name in _RECIPE if name in hints]
    for name, value in recipe.items():
        who = f"{kind.__name__}'s {name}"
        if name not in known:
            raise SurefootError(
                f"{kind.__name__} takes no {name!r} here; {suggest(name, known)}; the others are "
                "options, see --help"
            )
        if not _fits(value, hints[name]):
            raise SurefootError(f"{who} is {value!r}, expected {_say(hints[name])}")


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    kinds = get_args(hint) or (hint,)
    return (type(value) in kinds) or (float in kinds and type(value) is int)


def _say(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {list(get_args(hint))}"
    return " or ".join(
        "None" if kind is type(None) else kind.__name__ for kind in get_args(hint) or (hint,)
    )
