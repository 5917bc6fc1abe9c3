"""Gradient (Simonyan et al., arXiv 1312.6034) and input times gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surefoot import gradients
from surefoot.explain._base import Explainer
from surefoot.gradients import Query, Score


@dataclass(frozen=True, repr=False)
class Gradient(Explainer):
    """The gradient of the target's score with respect to the inputs, signed.

    E(x) = d F(x) / d x (Simonyan et al., arXiv 1312.6034).

    Args:
        score: what is differentiated: "logit", "probability", "log_probability", "loss"
            (cross-entropy with the target as label) or "margin" (target minus best other logit).

    >>> import torch
    >>> model = torch.nn.Linear(2, 2, bias=False).eval()
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> Gradient()(model, torch.zeros(1, 2), target=1)
    tensor([[3., 4.]])
    """

    score: Score = "logit"

    def attribute(self, request: Query) -> Tensor:
        once = torch.ones(1, device="cpu")
        return gradients.mean_gradient(
            request, self.score, lambda b: request.inputs[b.samples, None], once, self.chunk
        )


@dataclass(frozen=True, repr=False)
class InputXGradient(Explainer):
    """The inputs times their gradient: x * d F(x) / d x (Shrikumar et al., arXiv 1605.01713).

    Args:
        score: what is differentiated, see `Gradient`.

    >>> import torch
    >>> net, x = torch.nn.Linear(4, 3, bias=False).double().eval(), torch.rand(2, 4).double()
    >>> torch.allclose(InputXGradient()(net, x, 0).sum(1), net(x)[:, 0])
    True
    """

    score: Score = "logit"

    def attribute(self, request: Query) -> Tensor:
        return request.inputs * Gradient(self.score, chunk=self.chunk).attribute(request)
