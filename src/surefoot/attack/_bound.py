"""Attacks on predictions in the form of captum's perturbations."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from surefoot import programs
from surefoot.attack._prediction import PredictionAttack
from surefoot.budget import L2, Budget, Linf
from surefoot.errors import SurefootError, suggest
from surefoot.explain import Asked
from surefoot.gradients import Inputs

# captum's names for what an attack's recipe and its budget hold here.
_OF_BUDGET = {"epsilon": "epsilon", "radius": "epsilon", "step_size": "step_size"}
_OF_BUDGET |= {"step_num": "steps", "random_start": "random_start", "mask": "mask"}
_NORMS: dict[str, type[Budget]] = {"Linf": Linf, "L2": L2}


@dataclass(frozen=True)
class BoundAttack:
    """An attack with its model, in the form of captum's perturbations; see `bind`.

    >>> import torch
    >>> from surefoot.attack import PGD
    >>> bound = bind(PGD(Linf(0.1, steps=3)), torch.nn.Linear(2, 2).eval())
    >>> moved = bound.perturb(torch.full((1, 2), 0.5), target=0)
    >>> bool(((moved - 0.5).abs() <= 0.1 + 1e-6).all())
    True
    """

    attack: PredictionAttack
    forward_func: Callable[..., Any]

    def perturb(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        *,
        targeted: bool | None = None,
        norm: str | None = None,
        **settings: Any,
    ) -> Any:
        """The inputs that the attack finds, in the form of `inputs`, a tensor or a tuple of them.

        Args:
            inputs: (N, ...), or a tuple of such, inside the budget's bounds.
            target: the classes to be lost, or those wanted if targeted; None takes the clean
                predictions.
            additional_forward_args: a value or a tuple of values: the model's further arguments.
            targeted: None leaves it to the recipe.
            norm: "Linf" or "L2"; None leaves it to the recipe.
            settings: captum's names for settings of the budget: `epsilon` or `radius`,
                `step_size`, `step_num`, `random_start`, `mask`.
        """
        attack = replace(self.attack, budget=_budget(self.attack.budget, norm, settings))
        if targeted is not None:
            attack = replace(attack, targeted=targeted)
        asked = Asked.of(self.forward_func, inputs, target, additional_forward_args)
        with programs.evaluated(asked.model):
            found = attack(asked.model, asked.given, asked.target, extra=asked.extra or None)
        return asked.returned(found.inputs)


def bind(attack: PredictionAttack, model: Callable[..., Any]) -> BoundAttack:
    """The attack as an object with `.perturb`, whose calls read as captum's do.

    For `captum.robust.MinParamPerturbation(model, bind(attack, model).perturb, "epsilon", ...)`.

    Args:
        attack: the recipe, such as `PGD` or `FGSM`.
        model: a module, a module's `forward`, or any function of tensors. A module in training
            mode is taken if nothing in it reads the mode.

    >>> import torch
    >>> from surefoot.attack import FGSM, Linf, bind
    >>> net = torch.nn.Linear(2, 2).eval()
    >>> bind(FGSM(Linf(0.1)), net).perturb(torch.ones(1, 2), target=0, epsilon=0.2).shape
    torch.Size([1, 2])
    """
    if not isinstance(attack, PredictionAttack):
        raise SurefootError(f"attack={attack!r}, expected one on predictions, such as PGD(budget)")
    if not callable(model):
        raise SurefootError(f"model is a {type(model).__name__}, expected a module or a function")
    return BoundAttack(attack, model)


def _budget(budget: Budget, norm: str | None, settings: dict[str, Any]) -> Budget:
    """The budget with what the call says of it."""
    for name in settings:
        if name not in _OF_BUDGET:
            raise SurefootError(
                f"perturb() has no setting {name!r}; {suggest(name, _OF_BUDGET)}. The rest belongs "
                "to the recipe here, as in PGD(Linf(8/255, steps=10, bounds=(0, 1)))"
            )
    if norm is not None and norm not in _NORMS:
        raise SurefootError(f"norm={norm!r}, choose one of {list(_NORMS)}")
    kind = type(budget) if norm is None else _NORMS[norm]
    told = {field.name: getattr(budget, field.name) for field in fields(budget)}
    return kind(**{**told, **{_OF_BUDGET[name]: value for name, value in settings.items()}})
