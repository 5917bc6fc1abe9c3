"""Pictures of several inputs on one figure: each in a region that it takes for a figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from surefoot.report._canvas import new_figure
from surefoot.report._look import Look

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

Make = Callable[..., Any]  # a figure, or a region that is taken for one, of so many inches
Draw = Callable[[Make], Any]


@dataclass
class Region:
    """A part of a figure that is drawn on as a whole one; lengths in inches.

    Attributes:
        whole: the figure.
        left: from its left edge.
        bottom: from its lower edge.
        wide: of the part.
        high: of the part.
        alt: what it shows, in words.
        about: how it was made.
    """

    whole: "Picture"
    left: float
    bottom: float
    wide: float
    high: float
    alt: str = ""
    about: dict[str, str] | None = None

    def get_size_inches(self) -> tuple[float, float]:
        """Width and height of the part."""
        return self.wide, self.high

    def add_axes(self, rect: Sequence[float]) -> Any:
        """Axes at shares of the part: left, bottom, width, height."""
        left, bottom = self._at(rect[0], rect[1])
        across, up = self.whole.get_size_inches()
        return self.whole.add_axes(
            (left, bottom, rect[2] * self.wide / across, rect[3] * self.high / up)
        )

    def add_gridspec(self, rows: int, columns: int, **given: float) -> Any:
        """A grid whose edges are shares of the part."""
        left, bottom = self._at(given.pop("left"), given.pop("bottom"))
        right, top = self._at(given.pop("right"), given.pop("top"))
        edges = {"left": left, "bottom": bottom, "right": right, "top": top}
        return self.whole.add_gridspec(rows, columns, **edges, **given)

    def add_subplot(self, *given: Any) -> Any:
        """Axes in a grid."""
        return self.whole.add_subplot(*given)

    def text(self, x: float, y: float, *given: Any, **style: Any) -> Any:
        """Text at shares of the part."""
        return self.whole.text(*self._at(x, y), *given, **style)

    def colorbar(self, *given: Any, **style: Any) -> Any:
        """A scale of colours."""
        return self.whole.colorbar(*given, **style)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across, up = self.whole.get_size_inches()
        return (self.left + x * self.wide) / across, (self.bottom + y * self.high) / up


def together(draws: Sequence[Draw], look: Look) -> "Picture":
    """Pictures on one figure: side by side, or one below another where the width is given.

    Args:
        draws: each draws one on what it gets to make its figure with.
        look: of all.
    """
    # Once to learn how large each is, once in its place.
    sizes = [tuple(map(float, draw(new_figure).get_size_inches())) for draw in draws]
    stacked = look.type.wide is not None
    wides, highs = zip(*sizes, strict=True)
    wide = max(wides) if stacked else sum(wides)
    high = sum(highs) if stacked else max(highs)
    whole, left, top = new_figure(wide, high), 0.0, high
    drawn = []
    for draw, (across, up) in zip(draws, sizes, strict=True):
        region = Region(whole, left, top - up, across, up)
        drawn.append(draw(lambda *_, region=region: region))
        left, top = (left, top - up) if stacked else (left + across, top)
    whole.alt = " ".join(each.alt for each in drawn)
    whole.about = drawn[0].about
    return whole
