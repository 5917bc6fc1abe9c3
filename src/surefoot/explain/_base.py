"""What every explainer is: a frozen dataclass of hyper-parameters that maps a query to a map."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import torch
from torch import Tensor, nn

from surefoot import checks, gradients, models
from surefoot.errors import SurefootError
from surefoot.explain._explanation import Explanation
from surefoot.gradients import Inputs, Query, Target
from surefoot.maps import Parts
from surefoot.recipes import Recipe


@dataclass(frozen=True, repr=False)
class Explainer(Recipe, ABC):
    """A callable `explainer(model, inputs, target) -> attributions`, shaped like `inputs`.

    The fields are hyper-parameters only: `repr` is the recipe, `dataclasses.replace` makes
    variants, equal settings make equal explainers (tensors by value). Each sample's map is
    independent of the rest of the batch. A subclass is a `@dataclass(frozen=True)` and writes
    `attribute(query)`, which gets a checked request.

    Args:
        chunk: inputs sent through the model at once; None chooses by input size and device, and
            halves when memory runs out. It bounds memory and does not change results, so it is
            not part of the recipe.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> isinstance(Gradient(), Explainer)
    True
    >>> Gradient()(torch.nn.Linear(4, 3).eval(), torch.rand(2, 4)).shape
    torch.Size([2, 4])
    """

    chunk: int | None = field(default=None, kw_only=True, repr=False, compare=False)

    @overload
    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
        create_graph: bool | None = None,
        layout: Any = None,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
        create_graph: bool | None = None,
        layout: Any = None,
    ) -> tuple[Tensor, ...]: ...

    def __call__(
        self,
        model: nn.Module,
        inputs: Inputs,
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
        create_graph: bool | None = None,
        layout: Any = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Attributions of `target`'s score to `inputs`.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point, (N, ...); or a tuple of several inputs, which go to the
                model's arguments in order and are explained together.
            target: class index, one for each sample (N,), or None for the predicted class. Of
                outputs (N, ...) with more dimensions a tuple of indices, or a list of N tuples.
            extra: further arguments of the model by name: tensors with leading dimension N, and
                anything that is no tensor.
            create_graph: whether the result can be differentiated in inputs and parameters; by
                default if `inputs` require a gradient and gradients are enabled.
            layout: what the axes of `inputs` mean, see `surefoot.models.Classifier`; asked for
                where it matters, has three axes and the model does not say. Of several inputs a
                tuple.

        Returns:
            Attributions (N, ...), signed, unscaled; of several inputs a tuple of them.

        Raises:
            SurefootError: a training-mode model, something that is not a classifier, inputs of
                the wrong type or not finite, a target out of range.
        """
        self.check_kinds()
        request = gradients.query(model, inputs, target, extra, create_graph, layout, several=True)
        with torch.inference_mode(False), torch.enable_grad():
            attributions = checks.check_finite(self.attribute(request))
        kept = attributions if request.create_graph else attributions.detach()
        found: tuple[Tensor, ...] = request.returned(kept)
        return kept if isinstance(inputs, Tensor) else found

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "attribute" in vars(cls):
            cls.attribute = _asked(cls.attribute)  # type: ignore[method-assign]

    @abstractmethod
    def attribute(self, request: Query) -> Tensor:
        """Attributions (N, ...) of a checked request."""

    def explain(
        self,
        model: nn.Module,
        inputs: Inputs,
        target: Target = None,
        *,
        extra: Mapping[str, Any] | None = None,
        layout: Any = None,
    ) -> Explanation:
        """The attributions with all that belongs to them; shows itself as a picture in notebooks.

        Arguments and errors are those of calling the explainer.
        """
        request = gradients.query(model, inputs, target, extra, False, layout, several=True)
        details: dict[str, Tensor] = {}
        with torch.inference_mode(False), torch.enable_grad():
            attributions = checks.check_finite(self.attribute_with_details(request, details))
        logits = gradients.predict(request.model, request.inputs, request.extra, self.chunk)
        card = models.card(model)
        return Explanation(
            self,
            request.returned(request.inputs),
            request.returned(attributions.detach()),
            request.target,
            _probabilities(request.model, logits),
            {name: value.detach() for name, value in details.items()},
            layout=request.layout,
            labels=card.labels if _fit(card.labels, logits) else None,
            model=card.name or None,
        )

    def attribute_with_details(self, request: Query, details: dict[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Like `attribute`; may add what the result should carry to `details`, by name."""
        return self.attribute(request)


def _fit(labels: tuple[str, ...] | None, logits: Tensor) -> bool:
    """Whether there are as many names as classes: an output of one's own may have others."""
    return labels is not None and logits.ndim > 1 and len(labels) == logits.shape[1]


def _asked(attribute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`attribute` of a request; captum's way of calling it is answered with ours."""

    @functools.wraps(attribute)
    def call(self: Explainer, request: Query, *args: Any, **settings: Any) -> Tensor:
        if args or settings or not isinstance(request, Query):
            raise SurefootError(
                "attribute() takes a checked request; write explainer(model, inputs, target), such "
                "as IntegratedGradients(steps=32)(model, inputs, 3), or captum's way "
                "explain.bind(explainer, model).attribute(inputs, target=3)"
            )
        return attribute(self, request)

    return call


@dataclass(frozen=True, repr=False)
class Function(Explainer):
    """Any callable `function(model, inputs, target) -> attributions` as an explainer.

    It must explain each sample by itself and return a tensor shaped like `inputs`; of several
    inputs it gets a tuple and returns one. It is called without `extra`, and cannot be
    differentiated through.

    >>> import torch
    >>> e = Function(lambda model, inputs, target: inputs)
    >>> e(torch.nn.Linear(3, 2).eval(), torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    function: Callable[..., Any]

    def attribute(self, request: Query) -> Tensor:
        refuse_graph(request, repr(self))
        model, inputs = request.model, request.inputs.detach().clone()
        if isinstance(model, gradients.Door) and model.given:
            raise SurefootError(
                f"{self!r} is called without extra inputs; bind {sorted(model.given)} inside it"
            )
        if further := set(request.extra) - set(gradients.companions(request.model, [inputs])):
            raise SurefootError(
                f"{self!r} is called without extra inputs; bind {sorted(further)} inside it"
            )
        check_classes(request)
        # It may call autograd or write into what it gets, whatever mode the caller is in.
        with torch.inference_mode(False), torch.enable_grad():
            result = self._called(request, inputs)
        return check_attributions(result, request.inputs, repr(self))

    def _called(self, request: Query, inputs: Tensor) -> object:
        """What the function gives; of several inputs side by side."""
        target, parts = request.target.clone(), request.layout
        if not isinstance(parts, Parts) or not isinstance(request.model, gradients.Door):
            return self.function(request.model, inputs, target)
        several: object = self.function(request.model.model, request.returned(inputs), target)
        shapes = [tuple(x.shape) for x in request.returned(inputs)]
        if not isinstance(several, tuple | list) or [tuple(a.shape) for a in several] != shapes:
            raise SurefootError(f"{self!r} must return a tuple of maps shaped {shapes}")
        return parts.join(several)


def _probabilities(model: nn.Module, logits: Tensor) -> Tensor:
    """Softmax of logits (N, K), sigmoid of independent ones; NaN where they are of no classes."""
    if gradients.are_independent(model):
        return logits.sigmoid()
    if gradients.has_one_output(model) or gradients.is_flat(model):
        return torch.full_like(logits, torch.nan)
    gradients.warn_of_softmax(logits)
    return logits.softmax(1)


def check_classes(request: Query) -> None:
    """Raise, at the cost of one forward pass of one sample, if a target is out of range."""
    one = request.take(slice(0, 1))
    checks.check_target_range(request.target, gradients.predict(one.model, one.inputs, one.extra))


def refuse_graph(request: Query, who: str) -> None:
    """Raise if the request wants to differentiate through a method that cannot be."""
    if request.create_graph:
        raise SurefootError(
            f"{who} cannot be differentiated; use a built-in such as Gradient, InputXGradient, "
            "IntegratedGradients, SmoothGrad or ExpectedGradients, or pass create_graph=False"
        )


def check_attributions(result: object, inputs: Tensor, who: str) -> Tensor:
    """`result` itself, detached, if it is a tensor shaped like `inputs`."""
    if not isinstance(result, Tensor) or result.shape != inputs.shape:
        came = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise SurefootError(
            f"{who} returned {came}, expected a tensor shaped like the inputs {tuple(inputs.shape)}"
        )
    return result.detach().to(inputs)


def as_explainer(base: object) -> Explainer:
    """`base` itself, or the callable wrapped in `Function`.

    >>> same = as_explainer(lambda model, inputs, target: inputs)
    >>> same(torch.nn.Linear(2, 2).eval(), torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    if isinstance(base, Explainer):
        return base
    if isinstance(base, type) and issubclass(base, Explainer):
        raise SurefootError(
            f"{base.__name__} is a class, expected an explainer: write {base.__name__}()"
        )
    if callable(base):
        return Function(base)
    raise SurefootError(
        f"{base!r} is not an explainer; expected e.g. Gradient() or a callable "
        "(model, inputs, target) -> attributions"
    )
