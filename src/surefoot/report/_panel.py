"""What a picture is drawn from, and what its words are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from surefoot import maps
from surefoot.errors import SurefootError
from surefoot.explain import Captum, Explainer, Explanation
from surefoot.report._canvas import new_figure
from surefoot.report._look import Look
from surefoot.report._text import drawable, middle

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

Names = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class After:
    """What became of the samples of a panel.

    Attributes:
        inputs: (N, ...), the changed ones.
        maps: (N, ...), their attributions.
        said: of each prediction, "" where nothing is known.
        recipe: what changed them.
        scores: of all samples, a sentence.
    """

    inputs: Tensor
    maps: Tensor
    said: Sequence[str]
    recipe: str
    scores: str


@dataclass(frozen=True)
class Column:
    """One map of each sample: what stands above it, what it is of, and its values."""

    head: str
    inputs: Tensor
    values: Tensor


@dataclass(frozen=True)
class Panel:
    """The arguments of `surefoot.report.picture`, and what became of the samples, if anything."""

    explanation: Explanation
    base: Tensor | None
    labels: Sequence[str] | None
    names: Sequence[str] | None
    features: Names | None
    look: Look
    regions: Tensor | None = None
    after: After | None = None
    make: "Callable[[float, float], Picture]" = new_figure

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.explanation.target)

    @property
    def layout(self) -> maps.Layout:
        """What the axes of the inputs mean."""
        said = self.explanation.layout
        if isinstance(said, maps.Parts):
            raise SurefootError(
                "pictures are of one input, not of several; explain one of them and pass the "
                "others as extra={name: tensor}"
            )
        return maps.layout_of(self.explanation.inputs, layout=said)

    def share(self, row: int) -> str:
        """The probability of the class explained; nothing where the model gives none."""
        share = float(self.explanation.confidence()[row])
        return "" if math.isnan(share) else percent(share)

    def label(self, row: int) -> str:
        """The class explained."""
        return class_name(int(self.explanation.target[row]), self.labels, 10**6)

    def title(self, row: int) -> str:
        """Class name and confidence, such as `bald eagle, 62 %`."""
        return ", ".join(filter(None, [self.label(row), self.share(row)]))

    def name(self, row: int) -> str:
        """The sample's own name, if it has one."""
        return drawable(self.names[row]) if self.names else ""

    def predicted(self, row: int) -> str:
        """What the model says instead, where another class than the predicted is explained."""
        shares = self.explanation.probabilities[row].nan_to_num(0.0)
        best = int(shares.argmax())
        target = int(self.explanation.target[row])
        if target >= len(shares) or shares[best] <= shares[target]:
            return ""
        name = class_name(best, self.labels, 40)
        return f"predicted: {name}, {percent(float(shares[best]))}"

    def below(self, row: int) -> str:
        """The sample's name, and what the model says where something else is explained."""
        return " · ".join(filter(None, [self.name(row), self.predicted(row)]))

    def heading(self) -> tuple[str, str]:
        """Short names of the base explainer and of the explainer."""
        explainer = self.explanation.explainer
        base = getattr(explainer, "base", None)
        return "base" if base is None else short_name(base), short_name(explainer)

    def columns(self) -> list[Column]:
        """The maps of each sample, in the order they are shown."""
        (base, whole), shown = self.heading(), self.explanation
        if self.after is not None:
            then = Column("after", self.after.inputs, self.after.maps)
            return [Column("before", shown.inputs, shown.attributions), then]
        own = Column(whole, shown.inputs, shown.attributions)
        return [own] if self.base is None else [Column(base, shown.inputs, self.base), own]

    def headline(self, row: int) -> str:
        """Class, probability, name, and what the model says instead or afterwards."""
        said = [] if self.after is None else [self.after.said[row]]
        return " · ".join(filter(None, [self.title(row), self.below(row), *said]))

    def places(self, row: int) -> list[str] | None:
        """The names of one sample's tokens, features or channels."""
        if self.features is None or not len(self.features):
            return None
        given = self.features[row]
        return list(self.features if isinstance(given, str) else given)  # type: ignore[arg-type]


def class_name(target: int, labels: Sequence[str] | None, width: int = 30) -> str:
    """A class as it is shown, shortened in its middle to some number of characters.

    >>> class_name(1, ["cat", "dog"]), class_name(1, None)
    ('dog', 'class 1')
    """
    named = labels is not None and target < len(labels)
    label = labels[target] if named and labels is not None else f"class {target}"
    return middle(drawable(label), width)


def sample_name(names: Sequence[str] | None, row: int, width: int = 34) -> str:
    """A sample's own name, if it has one, shortened in its middle.

    >>> sample_name(["a_name_without_any_spaces_of_fifty_letters.jpeg"], 0)
    'a_name_without_an…fty_letters.jpeg'
    """
    return middle(drawable(names[row]), width) if names else ""


def percent(share: float) -> str:
    """A probability as it is shown.

    >>> percent(0.625), percent(0.0004), percent(0.9999)
    ('62 %', '<1 %', '>99 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def short_name(explainer: object) -> str:
    """The explainers' names without their settings; a method of another library by its own name.

    >>> from surefoot.explain import Captum, Gradient, SmoothGrad
    >>> short_name(SmoothGrad(Gradient(), samples=5)), short_name(Captum("DeepLift"))
    ('SmoothGrad(Gradient)', 'DeepLift')
    """
    if isinstance(explainer, Captum):
        names = [explainer.algorithm, *map(explainer.options.get, ("attribution_method",))]
        outer, *inner = [_own_name(each) for each in names if each is not None]
        return f"{outer}({inner[0]})" if inner else outer
    function = getattr(explainer, "function", None)
    if not isinstance(explainer, Explainer) or callable(function):
        return _own_name(function or explainer)
    name = type(explainer).__name__
    base = getattr(explainer, "base", None)
    return f"{name}({short_name(base)})" if base is not None else name


def _own_name(thing: object) -> str:
    if isinstance(thing, str):
        return thing
    name = getattr(thing, "__name__", type(thing).__name__)
    return "function" if name == "<lambda>" else str(name)
