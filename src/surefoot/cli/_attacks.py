"""An attack from its options: a name or a short recipe, a budget, and numbers such as 1/255."""

import ast
import math
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from surefoot import attack
from surefoot.attack import AttributionAttack, Budget
from surefoot.cli._options import DEFAULT_ATTACK, DEFAULT_STEPS, add
from surefoot.errors import SurefootError, suggest

ATTACKS: dict[str, type[AttributionAttack]] = {
    kind.__name__: kind
    for kind in (
        attack.TopK,
        attack.MassCenter,
        attack.Target,
        attack.Dissimilarity,
        attack.Manipulation,
        attack.RandomSign,
        attack.Ensemble,
    )
}
_BUDGETS: dict[str, type[Budget]] = {"linf": attack.Linf, "l2": attack.L2}
_RECIPE = (
    "by",
    "effort",
    "proxy",
    "output_weight",
    "stop_at",
    "second_order",
    "difference",
    "refresh",
    "subset",
)


def add_attack_options(options: ArgumentParser) -> None:
    """The options that `make_attack` and `make_controls` read."""
    known = ", ".join(ATTACKS)
    add(
        options,
        "attack ensemble by towards k reduction beta seed control_draws norm epsilon steps "
        "step_size restarts",
        attack={
            "help": f"{known}; with settings that have no option here as "
            "Dissimilarity(proxy='pearson') or TopK(second_order='exact')"
        },
        seed={"help": "of random starts and signs"},
        steps={
            "default": DEFAULT_STEPS,
            "help": "gradient steps of a run; with the default network and explainer, 15 take well "
            "under a minute a photograph on two cores; more do more damage",
        },
    )


def make_attack(settings: Any) -> AttributionAttack:
    """The attack that the options describe; its budget is that of `make_budget`.

    Raises:
        SurefootError: an attack or a setting that does not exist, a number out of its range.
    """
    name, recipe = _chosen(settings)
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
    if _chosen(settings)[0] == "RandomSign":
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


def _chosen(settings: Any) -> tuple[str, dict[str, Any]]:
    """The attack's name and its settings; `--ensemble` is another name of one of them."""
    if settings.ensemble is None:
        return _read(settings.attack)
    if settings.attack != DEFAULT_ATTACK:
        raise SurefootError("--ensemble is an attack of its own; leave --attack out")
    return "Ensemble", {"effort": settings.ensemble, "by": settings.by}


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
