"""Right for the Right Reasons (Ross et al., arXiv 1703.03717), after its released code."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from surefoot import gradients
from surefoot.errors import SurefootError
from surefoot.maps import Count
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch, dropped
from surefoot.train._divergence import cross_entropy
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes
from surefoot.train._places import bottom, check_places, logits_and_saliency, spread


@dataclass(frozen=True, repr=False)
class RightForRightReasons(Objective):
    """CE(f(x), y) + lambda sum_i (A_i d/dx_i sum_k log p_k(x))^2, A marking what should not matter.

    Both terms are means over the batch, where the released code sums both (factor 1/N); its other
    penalty, on the weights, belongs to the optimiser. Its default lambda is 1e-4, to be raised
    until the terms are alike; 1 is this project's choice. Terms: `clean`, `reasons`.

    Args:
        weight: lambda.
        annotation: name of the entry of `extra` that holds A: (N, ...) broadcastable to the
            inputs, or one value a place, such as (N, H, W) for images; it does not reach the
            model. None takes the k places of least |saliency| of the model itself (this project's
            control for `SCAAT`, not the paper's method).
        k: number of places, or their share if a float below 1, where there is no annotation.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.ones(2, 4)
    >>> wrong = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(2, -1)
    >>> objective = RightForRightReasons(annotation="wrong")  # the last field should not matter
    >>> loss = objective(net, images, torch.tensor([0, 1]), extra={"wrong": wrong})
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'reasons']
    """

    weight: float = 1.0
    annotation: str | None = field(default=None, kw_only=True)
    k: Count = field(default=0.5, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        batch, A = self._annotated(batch)
        request = batch.request(batch.inputs, create_graph=True)
        logits, (gradient,) = gradients.logits_and_gradients(request, _all_classes)
        wrong = (A * gradient).flatten(1).square().sum(1).mean()
        clean = cross_entropy(logits, batch.labels)
        return Parts({"clean": (1.0, clean), "reasons": (self.weight, wrong)})

    def _annotated(self, batch: Batch) -> tuple[Batch, Tensor]:
        if self.annotation is None:
            with eval_mode(batch.model):
                _, saliency = logits_and_saliency(batch)
            mask = spread(bottom(saliency.abs(), self.k), batch)
            return batch, mask.to(batch.inputs)
        if self.annotation not in batch.extra:
            raise SurefootError(
                f"annotation={self.annotation!r} is not in extra ({sorted(batch.extra)}); pass "
                f"extra={{{self.annotation!r}: mask}}, or annotation=None"
            )
        rest = dropped(batch.extra, self.own_extra())
        A = batch.extra[self.annotation].to(batch.inputs)
        return replace(batch, extra=rest), self._fitted(A, batch)

    def _fitted(self, A: Tensor, batch: Batch) -> Tensor:
        """A so that it broadcasts to x; one value a place goes to all of its channels."""
        x = batch.inputs
        try:
            if A.ndim == x.ndim:
                return A.expand_as(x)
            if A.ndim == x.ndim - 1:
                return spread(A, batch)
        except RuntimeError:  # the message below says more
            pass
        raise SurefootError(
            f"extra[{self.annotation!r}] has shape {tuple(A.shape)}, which does not fit inputs "
            f"{tuple(x.shape)}; give it their shape, or one value a place without the channels"
        )

    def own_extra(self) -> frozenset[str]:
        """The annotation."""
        return frozenset() if self.annotation is None else frozenset({self.annotation})

    def check(self) -> None:
        super().check()
        check_places(self.k)

    def passes(self) -> Passes:
        return Passes(input_gradient=int(self.annotation is None), second_parameters=1)


def _all_classes(logits: Tensor, _labels: Tensor) -> Tensor:
    """sum_k log p_k, (N,)."""
    return logits.log_softmax(1).sum(1)
