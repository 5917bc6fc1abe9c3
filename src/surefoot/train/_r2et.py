"""R2ET, training for stable explanations (Chen et al., arXiv 2212.14106), after released code."""

from dataclasses import dataclass, field

from torch import Tensor

from surefoot import gradients
from surefoot.errors import SurefootError
from surefoot.explain import reduce
from surefoot.maps import Count, count
from surefoot.train import _paths
from surefoot.train._base import Objective, Parts
from surefoot.train._batch import Batch
from surefoot.train._divergence import cross_entropy
from surefoot.train._passes import Passes


@dataclass(frozen=True, repr=False)
class R2ET(Objective):
    """CE + lambda_1 sum_pairs (s_low - s_high) + lambda_2 ||(g(x + h sign(g) / n) - g(x)) / h||_2.

    g = grad_x CE(f(x), y), s = sum_c |g_c| at each place, places ranked by s. Pairs face each of
    the top k with the k-th, and the k-th with each of the k that follow, so that the first term
    widens the gap around rank k; it has no lower bound. The second estimates the curvature along
    the gradient's sign (n entries an input; 3072 in the released code). Means over the batch.
    The released weights are searched over 1e-3 to 1e2, so 0.1 is this project's choice; the
    released adaptive weights are left out. lambda_2 = 0 saves its pass. Terms: `clean`, `rank`,
    `curvature`.

    Args:
        k: places in the explanation, or their share if a float below 1 (100 of 1024 for CIFAR-10).
        rank_weight: lambda_1.
        curvature_weight: lambda_2.
        h: of the finite difference. The released 1e-3 moves an entry by 3e-7, which float32
            cannot tell from rounding; 1 is this project's choice.

    >>> import torch
    >>> net, images = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = R2ET(k=2)(net, images, torch.tensor([0, 1]))
    >>> loss.total.backward()
    >>> sorted(loss.terms)
    ['clean', 'curvature', 'rank']
    """

    k: Count = 0.1
    rank_weight: float = field(default=0.1, kw_only=True)
    curvature_weight: float = field(default=0.1, kw_only=True)
    h: float = field(default=1.0, kw_only=True)

    def evaluate(self, batch: Batch) -> Parts:
        logits, g = _look(batch, batch.inputs)
        places = reduce(g, "sum_abs", batch.layout).flatten(1)
        terms = {
            "clean": (1.0, cross_entropy(logits, batch.labels)),
            "rank": (self.rank_weight, self._gaps(places).mean()),
        }
        if self.curvature_weight:
            ahead = batch.inputs + self.h * g.detach().sign() / g[0].numel()
            change = (_look(batch, ahead)[1] - g).flatten(1) / self.h
            # The norm has no derivative where nothing changes.
            length = change.square().sum(1).clamp_min(_TINY).sqrt()
            terms["curvature"] = (self.curvature_weight, length.mean())
        return Parts(terms)

    def _gaps(self, s: Tensor) -> Tensor:
        """sum_pairs (s_low - s_high) of places (N, n), (N,); never above 0."""
        k = count(self.k, s.shape[1])
        ranked = s.sort(1, descending=True).values
        kth = ranked[:, k - 1 : k]
        above, below = ranked[:, : k - 1], ranked[:, k : 2 * k]
        return (kth - above).sum(1) + (below - kth).sum(1)

    def passes(self) -> Passes:
        return Passes(second_parameters=2 if self.curvature_weight else 1)

    def check(self) -> None:
        super().check()
        if not self.h > 0:
            raise SurefootError(f"h={self.h!r}, expected a number above 0")


_TINY = 1e-24


def _look(batch: Batch, points: Tensor) -> tuple[Tensor, Tensor]:
    request = batch.request(points, create_graph=True)
    logits, (g,) = gradients.logits_and_gradients(request, _paths.loss)
    return logits, g
