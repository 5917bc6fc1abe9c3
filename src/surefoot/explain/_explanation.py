"""The result of `explainer.explain`: attributions with all that belongs to them."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surefoot.errors import SurefootError
from surefoot.explain import _stored
from surefoot.maps import AnyLayout, Layout, Parts, Reduction, heatmap

if TYPE_CHECKING:
    from surefoot.explain._base import Explainer


@dataclass(frozen=True, repr=False)
class Explanation:
    """Attributions of a batch and what they came from.

    Attributes:
        explainer: the recipe.
        inputs: (N, ...), what was explained; of several inputs a tuple.
        attributions: (N, ...), signed, unscaled; of several inputs a tuple.
        target: (N,), the explained class; of outputs (N, ...) with more dimensions the number of
            the entry.
        probabilities: (N, K), softmax of the model's logits; NaN where it gives none of classes.
        details: further tensors by name, such as a decoy map's "low", "high" and "coverage".
        layout: what the axes of the inputs mean; None where three axes were left unsaid.
        labels: class names in the order of the logits, where the model has them.
        model: its name, where it was loaded by one.

    >>> from surefoot.explain import Gradient
    >>> found = Gradient().explain(torch.nn.Linear(4, 3).eval(), torch.rand(2, 4))
    >>> found.attributions.shape, found.probabilities.shape
    (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    explainer: "Explainer"
    inputs: Tensor
    attributions: Tensor
    target: Tensor
    probabilities: Tensor
    details: Mapping[str, Tensor] = field(default_factory=dict)
    layout: AnyLayout | None = field(default=None, kw_only=True)
    labels: tuple[str, ...] | None = field(default=None, kw_only=True)
    model: str | None = field(default=None, kw_only=True)

    def heatmap(
        self,
        percentile: float = 95,
        reduction: Reduction = "max_abs",
        layout: Layout | None = None,
    ) -> Any:
        """The map as a picture in [0, 1], see `surefoot.explain.heatmap`; a tuple of several."""
        if isinstance(self.layout, Parts):
            each = enumerate(self.attributions)
            return tuple(heatmap(a, percentile, reduction, self.layout.needed(i)) for i, a in each)
        return heatmap(self.attributions, percentile, reduction, layout or self.layout)

    def confidence(self) -> Tensor:
        """The probability of each sample's target, (N,)."""
        return self.probabilities.gather(1, self.target[:, None])[:, 0]

    def save(self, path: str | Path) -> None:
        """Write all of it to .npz or .safetensors, so that `load` and a picture need nothing else.

        The recipe goes with it as JSON, and the tensors among its settings under their digests,
        as do layout, class names, the model's name and versions. The file is there whole or not
        at all.

        Raises:
            SurefootError: another suffix, a recipe that cannot be stored, a full disk.
        """
        _stored.save(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> "Explanation":
        """The explanation that `save` wrote.

        Raises:
            SurefootError: no such file, or none that holds a whole explanation.
        """
        return Explanation(**_stored.load(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for other libraries: NumPy arrays and texts by name.

        `axes` names the axes of inputs and attributions, so that
        `xarray.DataArray(d["attributions"], dims=d["axes"])` is all that xarray needs.
        """
        return _stored.as_dict(self)

    def to_json(self, *, arrays: bool = False) -> str:
        """Recipe, model, layout, versions, target, class names and confidence as JSON text.

        Args:
            arrays: whether inputs, attributions, probabilities and details are in it, too. What
                JSON has no number for, such as NaN, is null.
        """
        return _stored.as_json(self, arrays=arrays)

    def __repr__(self) -> str:
        parts = self.attributions if isinstance(self.attributions, tuple) else [self.attributions]
        shape = " + ".join(str(tuple(each.shape)) for each in parts)
        shown = ", ".join(
            f"{int(target)} ({float(share):.0%})"
            for target, share in zip(self.target[:5], self.confidence()[:5], strict=True)
        )
        more = ", ..." if len(self.target) > 5 else ""
        details = f", details: {', '.join(self.details)}" if self.details else ""
        return f"Explanation({self.explainer!r}, {shape}, target {shown}{more}{details})"

    def _repr_png_(self) -> bytes | None:
        """The picture a notebook shows; None, and so the text, where none can be made."""
        return drawn("png", self)  # type: ignore[no-any-return]

    def _repr_html_(self) -> str | None:
        """The same with its text for screen readers, and sentences and records as tables."""
        return drawn("html", self)  # type: ignore[no-any-return]


def drawn(how: str, explanation: Any) -> Any:
    """What `surefoot.report` makes of a result; None where it cannot."""
    try:
        # The one arrow upwards: whoever looks at a result sees it drawn.
        return getattr(importlib.import_module("surefoot.report"), how)(explanation)
    except SurefootError:
        return None


def join_explanations(explanations: Sequence[Explanation]) -> Explanation:
    """Explanations by the same explainer as one batch.

    Details that do not belong to a sample, such as a decoy map's "coverage", are the first one's.

    Raises:
        SurefootError: there are none, or their inputs differ in shape.
    """
    shapes = {_shapes(each.inputs) for each in explanations}
    if len(shapes) != 1:
        raise SurefootError(f"cannot join explanations of inputs shaped {sorted(shapes, key=str)}")
    first = explanations[0]
    if len(explanations) == 1:
        return first
    details = {
        name: torch.cat([each.details[name] for each in explanations]) if value.ndim else value
        for name, value in first.details.items()
    }
    return replace(
        first,
        inputs=_joined([each.inputs for each in explanations]),
        attributions=_joined([each.attributions for each in explanations]),
        target=torch.cat([each.target for each in explanations]),
        probabilities=torch.cat([each.probabilities for each in explanations]),
        details=details,
    )


def _shapes(inputs: Any) -> tuple[Any, ...]:
    """Of one sample, or of one sample of each of several inputs."""
    return tuple(map(_shapes, inputs)) if isinstance(inputs, tuple) else tuple(inputs.shape[1:])


def _joined(values: Sequence[Any]) -> Any:
    """Tensors as one batch, or the tensors of each of several inputs."""
    if isinstance(values[0], tuple):
        return tuple(torch.cat(each) for each in zip(*values, strict=True))
    return torch.cat(list(values))
