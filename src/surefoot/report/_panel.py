"""What a figure is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from torch import Tensor

from surefoot.explain import Explainer, Explanation

# The inks of all figures; the two signs are told apart by the colour-blind too.
INK, GREY = "#1a1a1a", "#666666"
POSITIVE, NEGATIVE = "#c44536", "#2a6f97"


@dataclass(frozen=True)
class Panel:
    """The arguments of `surefoot.report.picture`."""

    explanation: Explanation
    base: Tensor | None
    labels: Sequence[str] | None
    names: Sequence[str] | None
    features: Sequence[str] | None
    percentile: float

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.explanation.target)

    def title(self, row: int) -> str:
        """Class name and confidence, such as `bald eagle, 62 %`."""
        target = int(self.explanation.target[row])
        share = float(self.explanation.confidence()[row])
        return f"{class_name(target, self.labels)}, {percent(share)}"

    def name(self, row: int) -> str:
        """The sample's own name, if it has one."""
        return sample_name(self.names, row)

    def heading(self) -> tuple[str, str]:
        """Short names of the base explainer and of the explainer."""
        explainer = self.explanation.explainer
        return short_name(getattr(explainer, "base", None)), short_name(explainer)


def class_name(target: int, labels: Sequence[str] | None, width: int = 30) -> str:
    """A class as it is shown, cut to some number of characters.

    >>> class_name(1, ["cat", "dog"]), class_name(1, None)
    ('dog', 'class 1')
    """
    named = labels is not None and target < len(labels)
    label = labels[target] if named and labels is not None else f"class {target}"
    return shorten(label, width, placeholder=" …")


def sample_name(names: Sequence[str] | None, row: int) -> str:
    """A sample's own name, if it has one."""
    return shorten(names[row], 34, placeholder="…") if names else ""


def percent(share: float) -> str:
    """A probability as it is shown.

    >>> percent(0.625), percent(0.0004), percent(0.9999)
    ('62 %', '<1 %', '>99 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def short_name(explainer: object) -> str:
    """The explainers' names without their settings.

    >>> from surefoot.explain import Gradient, SmoothGrad
    >>> short_name(SmoothGrad(Gradient(), samples=5))
    'SmoothGrad(Gradient)'
    """
    if not isinstance(explainer, Explainer):
        return getattr(explainer, "__name__", type(explainer).__name__)
    name = type(explainer).__name__
    base = getattr(explainer, "base", None)
    return f"{name}({short_name(base)})" if base is not None else name
