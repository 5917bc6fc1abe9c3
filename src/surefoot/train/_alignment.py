"""ART: attributional training by input-gradient alignment (Singh et al., arXiv 1911.13073)."""

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from surefoot import gradients
from surefoot.attack import smooth
from surefoot.errors import SurefootError
from surefoot.maps import Count, count, known_layout, top
from surefoot.models import along_channels
from surefoot.train import _paths
from surefoot.train._base import Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cosine_distance, cross_entropy
from surefoot.train._inner import Adversarial, around, ascend, random_point
from surefoot.train._mode import eval_mode
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class InputGradientAlignment(Adversarial):
    """min CE(f(x~), y) + lambda L_attr, x~ the perturbation that raises L_attr (ART).

    L_attr = mean log(1 + exp(-(d(x, g_c) - d(x, g_y)))), with d = 1 - cos over one whole input,
    g_y the input gradient of the label's logit and g_c that of the largest other logit, both of a
    softplus surrogate. Inputs are to look like the label's gradient and unlike the runner-up's.
    From the released code: of {x, x~} the larger d(., g_y) and the smaller d(., g_c) count, and the
    attack sees only the k entries with the largest |g_y| at its random start, on the model itself.
    This project's reading: each gradient is compared with the input where it is taken. Defaults
    are the released CIFAR-10 recipe's. Terms: `adversarial`, `alignment`.

    Args:
        weight: lambda.
        k: entries that the attack sees, or their share if a float below 1 (1000 of 3072).
        beta: of the softplus that stands in for ReLU and its relatives; None takes the model as it
            is, which must then be smooth.
        mean: subtracted from inputs before they are compared; one number or one a channel. The
            released code compares normalised inputs.
        std: what they are then divided by.
        steps: of the ascent.
        step_size: None is 2.5 epsilon / steps.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> objective = InputGradientAlignment(0.1, k=2, steps=2)
    >>> loss = objective(net, torch.rand(2, 4), torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['adversarial', 'alignment']
    """

    weight: float = field(default=0.5, kw_only=True)
    k: Count = field(default=1000 / 3072, kw_only=True)
    beta: float | None = field(default=50.0, kw_only=True)
    mean: float | tuple[float, ...] = field(default=0.0, kw_only=True)
    std: float | tuple[float, ...] = field(default=1.0, kw_only=True)
    steps: int = field(default=3, kw_only=True)
    step_size: float | None = field(default=5 / 255, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        moved = self.moved(batch)
        adversarial = cross_entropy(batch.logits(moved), batch.labels)
        here, there = self._distances(batch, batch.inputs), self._distances(batch, moved)
        label, other = here[0].maximum(there[0]), here[1].minimum(there[1])
        aligned = F.softplus(label - other).mean()
        return Parts({"adversarial": (1.0, adversarial), "alignment": (self.weight, aligned)})

    def moved(self, batch: Batch) -> Tensor:
        """The x~ of the attack, (N, ...)."""
        budget = self.budget()
        box = around(batch, budget)
        start = random_point(batch, budget, box) if self.random_start else batch.inputs
        with eval_mode(batch.model):
            seen = self._seen(batch, start)

            def rise(points: Tensor) -> Tensor:
                label, other = self._distances(batch, points, seen)
                return F.softplus(label - other)

            return ascend(budget, box, start, rise)

    def _seen(self, batch: Batch, start: Tensor) -> Tensor:
        _, (g,) = gradients.logits_and_gradients(batch.request(start), _paths.logit)
        rows = g.flatten(1).abs()
        return top(rows, count(self.k, rows.shape[1])).view_as(g)

    def _distances(
        self, batch: Batch, points: Tensor, seen: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """d(x, g_y) and d(x, g_c), each (N,), over the entries that are seen."""
        model = self._surrogate(batch.model)
        request = replace(batch.request(points, create_graph=True), model=model)
        _, (g_y, g_c) = gradients.logits_and_gradients(request, _paths.logit, _paths.other_logit)
        layout = known_layout(points, batch.model)
        mean = along_channels(_numbers(self.mean), points, "mean", layout)
        x = (points - mean) / along_channels(_numbers(self.std), points, "std", layout)
        return cosine_distance(x * seen, g_y * seen), cosine_distance(x * seen, g_c * seen)

    def _surrogate(self, model: nn.Module) -> nn.Module:
        return model if self.beta is None else smooth(model, self.beta)

    def check(self) -> None:
        super().check()
        mean, std = _numbers(self.mean), _numbers(self.std)
        if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise SurefootError(
                f"mean={self.mean!r}, std={self.std!r}: expected finite numbers, and std above 0"
            )

    def passes(self) -> Passes:
        attack = self.steps * Passes(second_inputs=2, forward=-1)
        outer = Passes(second_parameters=4, forward=-2, parameters=1)
        return Passes(input_gradient=1) + attack + outer


def _numbers(given: float | tuple[float, ...]) -> Tensor:
    """As floating point, also what is too large for a whole number of a tensor."""
    return torch.as_tensor(given, dtype=torch.get_default_dtype())
