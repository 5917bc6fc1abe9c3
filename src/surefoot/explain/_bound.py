"""Explainers in the form of captum's attribution objects."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.explain._asked import Asked, Inputs
from surefoot.explain._base import Explainer, as_explainer
from surefoot.explain._expected import ExpectedGradients
from surefoot.explain._gradient import InputXGradient
from surefoot.explain._habits import innermost, multiplied, with_settings
from surefoot.explain._integrated import IntegratedGradients
from surefoot.gradients import Score
from surefoot.maps import Layout


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    # captum's NoiseTunnel calls `attribute.__wrapped__`, to go around its own logging.
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@dataclass(frozen=True)
class Bound:
    """An explainer with its model, in the form of captum's attribution objects; see `bind`."""

    explainer: Explainer
    forward_func: Callable[..., Any]
    layout: Layout | None = None

    @_wrapped
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        *,
        return_convergence_delta: bool = False,
        create_graph: bool | None = None,
        **settings: Any,
    ) -> Any:
        """Attributions of `inputs`, a tensor or a tuple of them, in the same form.

        Args:
            inputs: (N, ...), or a tuple of such.
            target: class index, one for each sample, indices into an output (N, ...) as a tuple or
                a list of tuples, or None for the predicted class (or the only output).
            additional_forward_args: a value or a tuple of values: the model's further arguments,
                in the order of its `forward`. Tensors with leading dimension N go with the samples.
            return_convergence_delta: whether (attributions, delta) come, see
                `compute_convergence_delta`; of `ExpectedGradients` one for each draw, (N *
                samples,), sample by sample, whose mean over a sample's draws is its gap.
            create_graph: see `Explainer.__call__`.
            settings: captum's names for settings of the recipe: `baselines`, `n_steps`, `method`,
                `internal_batch_size`, `n_samples`; a baseline may have one row a sample.
        """
        asked = Asked.of(self.forward_func, inputs, target, additional_forward_args)
        baselines = settings.pop("baselines", None)
        explainer = with_settings(self.explainer, settings)
        if baselines is not None:
            explainer = with_settings(explainer, {"baselines": asked.baseline(baselines)})
        maps = asked.explained(explainer, create_graph, self.layout)
        if not return_convergence_delta:
            return maps
        if not self.has_convergence_delta():
            raise SurefootError(
                f"{explainer!r} does not add up to a difference of scores, so that it has no "
                "convergence delta; IntegratedGradients has, and ExpectedGradients for each draw"
            )
        if isinstance(explainer, ExpectedGradients):
            return maps, asked.gaps(explainer, self.layout).flatten()
        start = innermost(explainer).baseline if baselines is None else baselines
        return maps, self.compute_convergence_delta(
            maps, start, inputs, target, additional_forward_args
        )

    def compute_convergence_delta(
        self,
        attributions: Inputs,
        start_point: Any,
        end_point: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
    ) -> Tensor:
        """The sum of the attributions minus F(end) - F(start), (N,): 0 is best."""
        there = Asked.of(self.forward_func, end_point, target, additional_forward_args)
        here = replace(there, inputs=there.points(start_point))
        score: Score = getattr(innermost(self.explainer), "score", "logit")
        given = attributions if isinstance(attributions, tuple) else (attributions,)
        total = torch.stack([each.detach().reshape(len(each), -1).sum(1) for each in given]).sum(0)
        return total - (there.scores(score) - here.scores(score))

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the map holds a factor of the inputs (or their distance from a baseline)."""
        inner = innermost(self.explainer)
        if isinstance(inner, IntegratedGradients | ExpectedGradients):
            return inner.multiply_by_inputs
        return isinstance(inner, InputXGradient)

    def has_convergence_delta(self) -> bool:
        """Whether attributions add up to a difference of scores."""
        return isinstance(self.explainer, IntegratedGradients | ExpectedGradients)


def bind(
    explainer: Explainer,
    model: Callable[..., Any],
    *,
    multiply_by_inputs: bool | None = None,
    layout: Layout | None = None,
) -> Bound:
    """The explainer as an object with `.attribute`, which captum's wrappers and metrics take.

    For `captum.attr.NoiseTunnel(bind(e, model))`, or
    `captum.metrics.sensitivity_max(bind(e, model).attribute, x, target=y)`.

    Args:
        explainer: the recipe.
        model: a module, a module's `forward`, or any function of tensors. A module in training
            mode is taken if nothing in it reads the mode.
        multiply_by_inputs: whether the map holds the factor of the inputs; None leaves it to the
            recipe.
        layout: what the axes of the inputs mean, where it can be mistaken.

    >>> from surefoot.explain import Gradient
    >>> bind(Gradient(), torch.nn.Linear(2, 2).eval()).attribute(torch.ones(1, 2), target=0).shape
    torch.Size([1, 2])
    """
    explainer = as_explainer(explainer)
    if not callable(model):
        raise SurefootError(f"model is a {type(model).__name__}, expected a module or a function")
    if multiply_by_inputs is not None:
        explainer = multiplied(explainer, multiply_by_inputs)
    return Bound(explainer, model, layout)
