"""What makes certificates: a recipe called as `certifier(model, inputs, target)`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.certify._certificate import Certificate
from surefoot.gradients import Query
from surefoot.maps import Layout
from surefoot.recipes import Recipe

C = TypeVar("C", bound=Certificate)


@dataclass(frozen=True, repr=False)
class Certifier(Recipe, ABC, Generic[C]):
    """Settings that a certificate is made with; samples do not influence each other.

    >>> from surefoot.certify import Exact, Smoothed
    >>> issubclass(Exact, Certifier), issubclass(Smoothed, Certifier)
    (True, True)
    """

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        target: checks.Target = None,
        *,
        extra: Mapping[str, Tensor] | None = None,
        layout: Layout | None = None,
    ) -> C:
        """Certify the maps of a batch.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
            inputs: floating point (N, ...).
            target: class explained, one or (N,); None takes the prediction for the inputs. It is
                held, whatever a change of the input does to the prediction.
            extra: further keyword inputs of the model, which stay as they are.
            layout: what the axes of `inputs` mean, where three axes leave it open and the model
                does not say, see `surefoot.models.Classifier`.

        Raises:
            SurefootError: a setting out of range, what cannot be certified, what the explainer
                raises.
        """
        self.check_kinds()
        request = gradients.query(model, inputs, target, extra, False, layout)
        with torch.inference_mode(False), torch.no_grad():
            return self.certify(replace(request, layout=request.needed_layout()))

    @abstractmethod
    def certify(self, request: Query) -> C:
        """The certificate of a checked request that knows its layout."""
