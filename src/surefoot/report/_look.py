"""How a picture is drawn: the choices that its reader sees, and its caption says."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from surefoot.errors import SurefootError, optional, suggest

PanelKind = Literal["input", "base", "map", "signed", "overlay", "contours", "top"]
Scale = Literal["each", "shared"]
Size = Literal["screen", "slide", "paper", "column"]

# The inks of all figures; the two signs are told apart by the colour-blind too.
INK, GREY = "#1a1a1a", "#5c5c5c"
POSITIVE, NEGATIVE = "#c44536", "#2a6f97"
SEQUENTIAL = "inferno"  # perceptually uniform, and black where there is nothing
DIVERGING = "RdBu_r"  # ColorBrewer's, white at zero: red speaks for, blue against


@dataclass(frozen=True)
class Type:
    """Sizes of a kind of picture: letters in points, lengths in inches.

    Attributes:
        title: of a sample's class.
        text: of the rest.
        recipe: of what is below all rows.
        wide: of the whole picture; None takes as much as its columns need.
        side: of an image, where `wide` is None.
        gap: between columns.
    """

    title: float
    text: float
    recipe: float
    wide: float | None
    side: float = 2.35
    gap: float = 0.1


TYPES: dict[str, Type] = {
    "screen": Type(8.5, 7.5, 6.5, None),
    "slide": Type(15, 12, 9, 13.0, gap=0.2),
    "paper": Type(8, 7, 6, 6.75, gap=0.08),
    "column": Type(7, 6, 5.5, 3.33, gap=0.05),
}


@dataclass(frozen=True)
class Look:
    """The choices of `surefoot.report.picture`, see there."""

    percentile: float = 95
    panels: tuple[PanelKind, ...] | None = None
    colours: str = SEQUENTIAL
    signed_colours: str = DIVERGING
    opacity: float = 1.0
    scale: Scale = "each"
    smooth: float = 0.0
    top: float = 0.1
    size: Size = "screen"
    slices: int | Sequence[int] | Literal["projection"] = 1

    @classmethod
    def of(cls, **choices: Any) -> "Look":
        """The look of these choices, by name; raises for one that there is not."""
        known = [each.name for each in fields(cls)]
        for name in choices:
            if name not in known:
                raise SurefootError(f"a picture has no {name!r}; {suggest(name, known)}")
        return cls(**choices)

    @property
    def type(self) -> Type:
        """The sizes of letters and lengths."""
        return TYPES[self.size]

    def check(self) -> None:
        """Raise for a choice that there is not."""
        for name, value, known in (
            *(("panels", panel, get_args(PanelKind)) for panel in self.panels or ()),
            ("scale", self.scale, get_args(Scale)),
            ("size", self.size, get_args(Size)),
        ):
            if value not in known:
                raise SurefootError(f"{name} has {value!r}; {suggest(str(value), known)}")
        if self.panels is not None and not self.panels:
            raise SurefootError(f"panels is empty; choose from {', '.join(get_args(PanelKind))}")
        maps = optional("matplotlib", "cli").colormaps
        for name in ("colours", "signed_colours"):
            if (given := getattr(self, name)) not in maps:
                raise SurefootError(
                    f"{name}={given!r} is no colour map of matplotlib; {suggest(given, maps)}"
                )
        for name, low, high in (("percentile", 0, 100), ("opacity", 0, 1), ("top", 0, 1)):
            if not low < getattr(self, name) <= high:
                raise SurefootError(
                    f"{name}={getattr(self, name)}, expected a number in ({low}, {high}]"
                )
        if not 0 <= self.smooth < 1000:
            raise SurefootError(f"smooth={self.smooth}, expected a number of pixels >= 0")
