"""What a certificate says."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from surefoot.maps import Layout
from surefoot.recipes import Recipe

UNKNOWN, OUT, IN = -1, 0, 1


@dataclass(frozen=True, repr=False)
class Certificate:
    """What is known of a map's k largest places everywhere in a ball around each input.

    Attributes:
        recipe: how it was made, the explainer and its settings included.
        inputs: (N, ...).
        target: (N,), the class explained throughout.
        mask: int8, one a place ((N, H, W) for images): 1 certainly among the top k, 0 certainly
            not, -1 unknown.
        k: how many places the top has.
        radius: of the ball, in input units.
        norm: "linf" or "l2".
        failure: probability that anything said of one sample is wrong, at most; 0 if exact.
        overlap: (N,), in [0, 1]: the share of the top k that no change within the radius can take
            away, with the same probability; see the recipe for what is compared with what.
        maps: how many maps (or, if exact, bounds of gradients) each sample took.
        layout: what the axes of the inputs mean.

    >>> from surefoot.certify import Exact
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Linear(4, 2).double().eval()  # linear: one map everywhere
    >>> c = Exact(Gradient(), radius=0.1, k=2)(net, torch.rand(3, 4).double())
    >>> len(c), c.mask.shape, float(c.certified.min()), c.failure
    (3, torch.Size([3, 4]), 1.0, 0.0)
    """

    recipe: Recipe
    inputs: Tensor
    target: Tensor
    mask: Tensor
    k: int
    radius: float
    norm: Literal["linf", "l2"]
    failure: float
    overlap: Tensor
    maps: int
    layout: Layout | None = None

    @property
    def certified(self) -> Tensor:
        """The share of places that are certain, (N,)."""
        return (self.mask != UNKNOWN).flatten(1).double().mean(1)

    @property
    def certified_in(self) -> Tensor:
        """Places certainly in, as a share of k, (N,)."""
        return (self.mask == IN).flatten(1).double().sum(1) / self.k

    @property
    def certified_out(self) -> Tensor:
        """Places certainly out, as a share of all that are not among k, (N,)."""
        places = self.mask[0].numel()
        return (self.mask == OUT).flatten(1).double().sum(1) / max(1, places - self.k)

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        moved: dict[str, Any] = {name: one.to(device) for name, one in _tensors(self).items()}
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.mask)

    def __repr__(self) -> str:
        sure = "exact" if not self.failure else f"wrong with probability <= {self.failure:g}"
        return (
            f"Certificate({self.recipe!r}: {self.norm} radius {self.radius:.4g}, {sure}; mean "
            f"certified {float(self.certified.mean()):.1%} of places, in "
            f"{float(self.certified_in.mean()):.1%} of k={self.k}, top-k overlap at least "
            f"{float(self.overlap.mean()):.3f})"
        )


def join_certificates(parts: Sequence[Certificate]) -> Certificate:
    """Certificates of one recipe on inputs of one shape as one batch."""
    each = [_tensors(part) for part in parts]
    whole: dict[str, Any] = {name: torch.cat([one[name] for one in each]) for name in each[0]}
    return replace(parts[0], **whole)


def _tensors(certificate: Certificate) -> dict[str, Tensor]:
    values = {f.name: getattr(certificate, f.name) for f in fields(certificate)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
