"""Input-gradient regularisation, or double backprop (Ross, Doshi-Velez, arXiv 1711.09404)."""

from dataclasses import dataclass

from surefoot import gradients
from surefoot.train import _paths
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class InputGradientRegularization(Objective):
    """CE(f(x), y) + lambda mean ||grad_x CE(f(x), y)||^2 / 2, each sample's own gradient.

    The released code takes the gradient of the batch's mean CE and sums over the batch, which is
    this penalty divided by the batch size B: its lambda, searched over 1e2 to 1e5 at B = 256, is
    B times the one here (0.4 to 400). The default of 1 is this project's choice.
    Terms: `clean`, `gradient` (the halved square).

    Args:
        weight: lambda.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = InputGradientRegularization()(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'gradient']
    """

    weight: float = 1.0

    def evaluate(self, batch: Batch) -> Parts:
        request = batch.request(batch.inputs, create_graph=True)
        logits, (gradient,) = gradients.logits_and_gradients(request, _paths.loss)
        half = gradient.flatten(1).square().sum(1).mean() / 2
        clean = cross_entropy(logits, batch.labels)
        return Parts({"clean": (1.0, clean), "gradient": (self.weight, half)})

    def passes(self) -> Passes:
        return Passes(second_parameters=1)
