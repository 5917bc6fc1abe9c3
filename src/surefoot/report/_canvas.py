"""What all pictures are drawn with: a sheet measured in inches, pixels, lines of text, scales."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.errors import optional
from surefoot.report._look import GREY, INK, Look, Type
from surefoot.report._shades import Array, Shades
from surefoot.report._text import drawable, families, fitted, inches, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from surefoot.report._figure import Picture

LINE = 1.3 / 72  # inches a line takes, for each point of its letters
MARGIN, _PAD, _BAR = 0.08, 0.045, 0.085  # inches: around all, around text, of a scale


@dataclass(frozen=True)
class Frame:
    """How wide a picture and its columns are, in inches.

    Attributes:
        look: the choices, which tell the sizes of letters.
        columns: of images.
    """

    look: Look
    columns: int

    @property
    def side(self) -> float:
        """The width of an image."""
        kind = self.look.type
        if kind.wide is None:
            return kind.side
        return (kind.wide - 2 * MARGIN - (self.columns - 1) * kind.gap) / self.columns

    @property
    def wide(self) -> float:
        """The width of it all."""
        return self.columns * (self.side + self.look.type.gap) - self.look.type.gap + 2 * MARGIN

    def lines(self, text: str) -> list[str]:
        """A column's title in lines that fit it, at most two, broken where explainers nest."""
        size = self.look.type.title
        lines = wrapped(drawable(text).replace("(", "\n(", 1), self.side, size)
        return [fitted(line, self.side, size) for line in [*lines[:1], "".join(lines[1:])] if line]

    def left(self, column: int) -> float:
        """Where a column begins."""
        return MARGIN + column * (self.side + self.look.type.gap)


@dataclass(frozen=True)
class Sheet:
    """Where the rows and columns of a picture stand, in inches.

    Attributes:
        frame: the columns.
        rows: of images.
        tall: how much higher than wide an image is.
        heads: lines above the first row.
        below: lines below each row.
        foot: inches below all rows.
        make: makes the figure, of so many inches; None takes a new one.
    """

    frame: Frame
    rows: int
    tall: float = 1.0
    heads: int = 1
    below: int = 1
    foot: float = 0.0
    make: Callable[[float, float], Any] | None = None
    figure: "Picture" = field(init=False)
    axes: Any = field(init=False)

    def __post_init__(self) -> None:
        wide, high, columns = self.frame.wide, self.high, self.frame.columns
        figure = (self.make or new_figure)(wide, high)
        grid = figure.add_gridspec(
            self.rows,
            columns,
            left=MARGIN / wide,
            right=1 - MARGIN / wide,
            top=1 - self.over / high,
            bottom=(self.foot + self.under + MARGIN) / high,
            wspace=self.type.gap / self.frame.side,
            hspace=self.between / (self.frame.side * self.tall),
        )
        axes = [
            [figure.add_subplot(grid[row, column]) for column in range(columns)]
            for row in range(self.rows)
        ]
        object.__setattr__(self, "figure", figure)
        object.__setattr__(self, "axes", axes)

    @property
    def type(self) -> Type:
        """The sizes of letters."""
        return self.frame.look.type

    @property
    def over(self) -> float:
        """The height above the first row."""
        return self.heads * self.type.title * LINE + 2 * _PAD + MARGIN / 2

    @property
    def under(self) -> float:
        """The height below each row."""
        return self.below * self.type.text * LINE + _PAD

    @property
    def between(self) -> float:
        """The height between two rows: what stands below one and above the next."""
        return self.under + self.type.title * LINE + 3 * _PAD

    @property
    def high(self) -> float:
        """The height of it all."""
        rows = self.rows * self.frame.side * self.tall + (self.rows - 1) * self.between
        return self.over + rows + self.under + self.foot + MARGIN

    def bottom(self, row: int) -> float:
        """The height of a row's lower edge above the figure's."""
        down = self.over + (row + 1) * self.frame.side * self.tall + row * self.between
        return self.high - down

    def head(self, axis: "Axes", text: str) -> None:
        """A column's title, in one line or two."""
        size, shown = self.type.title, "\n".join(self.frame.lines(text))
        note(axis, shown, (0, 1), 72 * _PAD, va="bottom", fontsize=size, color=INK)

    def title(self, axis: "Axes", name: str, share: str = "") -> None:
        """A bold line above an image; the name gives way where there is no room."""
        size = self.type.title
        end = f", {share}" if share else ""
        room = self.frame.side - inches(end, size, bold=True)
        shown = fitted(drawable(name), room, size, bold=True) + end
        style = {"fontsize": size, "color": INK, "fontweight": "bold"}
        note(axis, shown, (0, 1), 72 * _PAD, va="bottom", **style)

    def say(self, axis: "Axes", text: str, line: int = 0, *, bold: bool = False) -> None:
        """A line below an image: grey, or bold."""
        size = self.type.text
        shown = fitted(drawable(text), self.frame.side, size, bold=bold)
        style = {"color": INK, "fontweight": "bold"} if bold else {"color": GREY}
        down = 72 * (_PAD + line * size * LINE)
        note(axis, shown, (0, 0), -down, va="top", fontsize=size, **style)

    def scale(self, first: int, last: int, shades: Shades, colours: str, text: str) -> None:
        """The scale of some columns' colours, below them, and what its numbers are."""
        left, size = self.frame.left(first), self.type.text
        wide = self.frame.left(last) + self.frame.side - left
        place = (left, self.foot + MARGIN - _PAD, wide)
        colour_bar(self.figure, place, shades, colours, self.frame.look)
        top = self.foot + MARGIN - _PAD - _BAR - 1.5 * size * LINE
        for number, line in enumerate(wrapped(text, wide, size)):
            at = (left, top - number * size * LINE)
            write(self.figure, line, at, fontsize=size, color=GREY)


def new_figure(wide: float, high: float) -> "Picture":
    """A figure of so many inches, which belongs to nobody's matplotlib session."""
    optional("matplotlib", "cli")
    from surefoot.report._figure import Picture  # noqa: PLC0415 (needs the extra)

    return Picture(figsize=(wide, high))


@dataclass(frozen=True)
class Line:
    """One line of a caption, at a size in points."""

    text: str
    size: float
    mono: bool = False


def caption_lines(look: Look, wide: float, recipe: str, text: str) -> list[Line]:
    """A recipe and the sentences below it, in lines that fit a width in inches."""
    room = wide - 2 * MARGIN
    kind = look.type
    said = [Line(each, kind.text) for each in wrapped(drawable_lines(text), room, kind.text)]
    code = wrapped(drawable_lines(recipe), room, kind.recipe, mono=True)
    return [*(Line(each, kind.recipe, mono=True) for each in code), *said]


def write_caption(figure: "Figure", lines: Sequence[Line]) -> None:
    """The lines below everything."""
    at = caption_height(lines)
    for line in lines:
        place = (MARGIN, at + MARGIN / 2)
        write(figure, line.text, place, mono=line.mono, fontsize=line.size, color=GREY)
        at -= line.size * LINE


def drawable_lines(text: str) -> str:
    """Each line of the text as fonts can draw it."""
    return "\n".join(map(drawable, text.split("\n")))


def caption_height(lines: Sequence[Line]) -> float:
    """How high these lines stand, in inches."""
    return sum(line.size for line in lines) * LINE + (_PAD if lines else 0)


def scale_height(look: Look, wide: float, texts: Sequence[str]) -> float:
    """How high scales of images' colours stand, with what is said below them."""
    size = look.type.text
    most = max((len(wrapped(text, wide, size)) for text in texts), default=0)
    return _BAR + (1.6 + most) * size * LINE + 2 * _PAD if texts else 0.0


def note(axis: "Axes", text: str, place: tuple[float, float], off: float, **style: Any) -> None:
    """Text beside an axis: at a place in its own units, and so many points away."""
    axis.annotate(
        text,
        place,
        (0, off),
        xycoords="axes fraction",
        textcoords="offset points",
        parse_math=False,
        family=families([text]),
        annotation_clip=False,
        **style,
    )


def write(
    figure: "Figure", text: str, place: tuple[float, float], *, mono: bool = False, **style: Any
) -> None:
    """A line of text whose upper left corner is so many inches from the lower left one."""
    wide, high = figure.get_size_inches()
    style = {"va": "top", **style}
    known = families([text], mono=mono)
    x, y = place[0] / wide, place[1] / high
    figure.text(x, y, text, parse_math=False, family=known, **style)


def colour_bar(
    figure: "Figure", place: tuple[float, float, float], shades: Shades, colours: str, look: Look
) -> None:
    """A scale that lies: left, top and width in inches."""
    cm, colors = optional("matplotlib.cm", "cli"), optional("matplotlib.colors", "cli")
    left, top, wide = place
    across, up = figure.get_size_inches()
    axis = figure.add_axes((left / across, (top - _BAR) / up, wide / across, _BAR / up))
    mappable = cm.ScalarMappable(colors.Normalize(shades.low, shades.high), cmap=colours)
    bar = figure.colorbar(mappable, cax=axis, orientation="horizontal")
    ticks = np.linspace(shades.low, shades.high, 3)
    bar.set_ticks(list(ticks), labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=look.type.text, colors=GREY, length=2, width=0.5, pad=1.5)
    labels = bar.ax.get_xticklabels()
    labels[0].set(ha="left")
    labels[-1].set(ha="right")
    bar.outline.set_visible(False)


def scale_beside(
    figure: "Figure",
    place: tuple[float, float],
    shades: Shades,
    colours: str,
    look: Look,
    text: str,
) -> None:
    """A scale that lies at a left and a top, in inches, and what its colours mean beside it."""
    (left, top), wide, size = place, figure.get_size_inches()[0], look.type.text
    across = min(2.4, wide / 2)
    colour_bar(figure, (left, top, across), shades, colours, look)
    beside = left + across + 0.12
    write(
        figure, fitted(text, wide - beside - MARGIN, size), (beside, top), fontsize=size, color=GREY
    )


def bold_line(figure: "Figure", text: str, top: float, look: Look) -> None:
    """A title across the whole width, shortened where there is no room."""
    size, room = look.type.title, figure.get_size_inches()[0] - 2 * MARGIN
    shown = fitted(drawable(text), room, size, bold=True)
    write(figure, shown, (MARGIN, top), fontsize=size, color=INK, fontweight="bold")


def pixels(photo: Array) -> Array:
    """(C, H, W) of any scale and number of channels as RGB (H, W, 3) in [0, 1]."""
    low, high = photo.min(), photo.max()
    if low < 0 or high > 1:
        photo = (photo - low) / max(high - low, 1e-12)
    return rgb(photo)


def rgb(photo: Array) -> Array:
    """(C, H, W) of any number of channels as (H, W, 3)."""
    if len(photo) != 3:
        photo = photo.mean(0, keepdims=True).repeat(3, 0)
    return photo.transpose(1, 2, 0)


def tallness(height: int, wide: int) -> float:
    """How much higher than wide a row of such images is drawn."""
    return min(3.0, max(0.12, height / wide))


def show(axis: "Axes", picture: Array, shades: Shades | None = None, colours: str = "") -> None:
    """RGB (H, W, 3) as it is, or a map (H, W) in the colours of its scale."""
    scale: dict[str, Any] = (
        {"vmin": shades.low, "vmax": shades.high, "cmap": colours} if shades else {}
    )
    # "auto" is nearest where a pixel of the map is many of the picture's, and without moire else.
    axis.imshow(picture, interpolation="auto", **scale)
    axis.set_axis_off()


def hatch(axis: "Axes", absent: NDArray[np.bool_]) -> None:
    """Strokes over the places that are absent, (H, W)."""
    if not absent.any():
        return
    shape = axis.contourf(absent, levels=[0.5, 1.5], colors="none", hatches=["////"])
    shape.set(edgecolor=GREY, linewidth=0)
    if hasattr(shape, "set_hatch_linewidth"):  # matplotlib 3.9 and younger
        shape.set_hatch_linewidth(0.5)
