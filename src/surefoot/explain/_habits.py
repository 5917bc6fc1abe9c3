"""captum's names for settings, which belong to the recipe here."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer
from surefoot.explain._captum import Captum
from surefoot.explain._expected import ExpectedGradients
from surefoot.explain._gradient import Gradient, InputXGradient
from surefoot.explain._integrated import IntegratedGradients

# captum's names for settings that belong to the recipe here, and how a recipe writes them.
_OURS = {
    "n_steps": ("steps", "IntegratedGradients(steps=64)"),
    "method": ("quadrature", 'IntegratedGradients(quadrature="right")'),
    "internal_batch_size": ("chunk", "IntegratedGradients(chunk=32)"),
    "n_samples": ("samples", "ExpectedGradients(background, samples=50)"),
    "nt_samples": ("samples", "SmoothGrad(Gradient(), samples=50)"),
    "stdevs": ("std", "SmoothGrad(Gradient(), std=0.15)"),
    "baselines": ("baseline", "IntegratedGradients(baseline=0.0)"),
}
_QUADRATURES = {
    "riemann_right": "right",
    "riemann_left": "left",
    "riemann_middle": "midpoint",
    "riemann_trapezoid": "trapezoid",
}


def innermost(explainer: Explainer) -> Any:
    """What all wrappers wrap."""
    while isinstance(base := getattr(explainer, "base", None), Explainer):
        explainer = base
    return explainer


def multiplied(explainer: Explainer, multiply: bool) -> Explainer:
    """The explainer with or without the factor of the inputs."""
    base = getattr(explainer, "base", None)
    if isinstance(base, Explainer):
        return replace(explainer, base=multiplied(base, multiply))  # type: ignore[call-arg]
    if isinstance(explainer, IntegratedGradients | ExpectedGradients):
        return replace(explainer, multiply_by_inputs=multiply)
    if isinstance(explainer, Gradient | InputXGradient):
        kind = InputXGradient if multiply else Gradient
        return kind(explainer.score, chunk=explainer.chunk)
    raise SurefootError(f"{explainer!r} has no form with multiply_by_inputs={multiply}")


def with_settings(explainer: Explainer, settings: Mapping[str, Any]) -> Explainer:
    """The explainer with settings that captum's callers write in the call."""
    for name, value in settings.items():
        if name not in _OURS:
            raise SurefootError(
                f"attribute() has no setting {name!r}; settings belong to the recipe here, such as "
                'IntegratedGradients(steps=64, baseline=0.0, score="logit")'
            )
        found = _set(explainer, name, _QUADRATURES.get(value, value) if name == "method" else value)
        if found is None:
            ours, example = _OURS[name]
            raise SurefootError(
                f"{explainer!r} has no {ours}, which is what captum's {name}= says; it belongs to "
                f"the recipe here, as in {example}"
            )
        explainer = found
    return explainer


def _set(explainer: Explainer, name: str, value: Any) -> Explainer | None:
    if isinstance(explainer, Captum):
        return replace(explainer, options={**explainer.options, name: value})
    known = {f.name for f in fields(explainer)} if is_dataclass(explainer) else set()
    mine = next((each for each in (_OURS[name][0], name) if each in known), None)
    base = getattr(explainer, "base", None)
    inner = _set(base, name, value) if isinstance(base, Explainer) and mine != "std" else None
    if inner is not None:
        return replace(explainer, base=inner)  # type: ignore[call-arg]
    return None if mine is None else replace(explainer, **{mine: value})
