"""The result of `explainer.explain`: attributions with all that belongs to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from surefoot.explain._maps import Reduction, heatmap

if TYPE_CHECKING:
    from surefoot.explain._base import Explainer


@dataclass(frozen=True)
class Explanation:
    """Attributions of a batch and what they came from.

    Attributes:
        explainer: the recipe.
        inputs: (N, ...), what was explained.
        attributions: (N, ...), signed, unscaled.
        target: (N,), the explained class.
        probabilities: (N, K), softmax of the model's logits.
        details: further tensors by name, such as a decoy map's "low", "high" and "coverage".
    """

    explainer: "Explainer"
    inputs: Tensor
    attributions: Tensor
    target: Tensor
    probabilities: Tensor
    details: Mapping[str, Tensor] = field(default_factory=dict)

    def heatmap(self, percentile: float = 95, reduction: Reduction = "max_abs") -> Tensor:
        """The map as a picture in [0, 1], see `surefoot.explain.heatmap`."""
        return heatmap(self.attributions, percentile, reduction)
