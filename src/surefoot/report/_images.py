"""Rows of photograph, maps and overlay; of volumes, slices or projections."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from surefoot.errors import SurefootError, optional
from surefoot.report import _words
from surefoot.report._canvas import (
    Frame,
    Line,
    Sheet,
    caption_height,
    caption_lines,
    hatch,
    pixels,
    scale_height,
    show,
    tallness,
    write_caption,
)
from surefoot.report._look import SEQUENTIAL, Look, PanelKind
from surefoot.report._panel import Panel
from surefoot.report._shades import Array, Shades, absolute, has_signs, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from surefoot.report._figure import Picture

_REGION = "#00b8d4"  # told apart from sequential and diverging maps alike
_CHOSEN = "#fde725"  # of contours: light on grey photographs, dark enough in print


@dataclass(frozen=True)
class View:
    """One row: a sample, or a slice of one.

    Attributes:
        sample: which one.
        note: which slice, if any.
        depth: of the slice, "projection", or None for images.
    """

    sample: int
    note: str
    depth: int | str | None


def draw_images(panel: Panel) -> "Picture":
    """The figure of images (N, C, H, W), or of slices of volumes (N, C, D, H, W)."""
    views = _views(panel)
    kinds = _kinds(panel)
    shades = _shades(panel, kinds)
    photos = [_cut(panel.explanation.inputs.detach().float().cpu().numpy(), view) for view in views]
    sheet = _sheet(panel, kinds, photos)
    for number, (view, photo) in enumerate(zip(views, photos, strict=True)):
        row = dict(zip(kinds, sheet.axes[number], strict=True))
        cut = {kind: _cut(each.values, view) for kind, each in shades.items()}
        _draw(row, pixels(photo), cut, shades, panel)
        _mark(row, panel, view)
        _say(sheet, row, shades, panel, view)
    for axis, text in zip(sheet.axes[0][1:], _titles(kinds, panel), strict=True):
        sheet.head(axis, text)
    _scales(sheet, kinds, shades, panel)
    write_caption(sheet.figure, _caption(panel, sheet.frame.wide, kinds))
    return sheet.figure


def _views(panel: Panel) -> list[View]:
    """The rows, from the top."""
    if panel.layout == "image":
        return [View(row, "", None) for row in range(panel.rows)]
    deep, slices = panel.explanation.inputs.shape[2], panel.look.slices
    if slices == "projection":
        return [View(row, "largest along the depth", "projection") for row in range(panel.rows)]
    if isinstance(slices, int):
        chosen = [int((2 * k + 1) * deep / (2 * slices)) for k in range(slices)]
    else:
        chosen = list(slices)
    if not chosen or not all(isinstance(k, int) and 0 <= k < deep for k in chosen):
        raise SurefootError(
            f"slices={slices!r}, expected their number, a list of them from 0 to {deep - 1}, or "
            '"projection"'
        )
    return [View(row, f"slice {k + 1} of {deep}", k) for row in range(panel.rows) for k in chosen]


def _cut(values: Array, view: View) -> Array:
    """One row's part of (N, ..., H, W) or (N, ..., D, H, W)."""
    one: Array = values[view.sample]
    if view.depth is None:
        return one
    if isinstance(view.depth, int):
        one = one[..., view.depth, :, :]
    else:
        one = np.take_along_axis(one, np.abs(one).argmax(-3, keepdims=True), -3).squeeze(-3)
    return one


def _kinds(panel: Panel) -> list[PanelKind]:
    """The columns: those asked for, or what the method gives."""
    if panel.look.panels is not None:
        if "base" in panel.look.panels and panel.base is None:
            raise SurefootError('panels has "base", but no base= was given')
        return list(panel.look.panels)
    left_out = {"contours", "top"}
    left_out |= {"base"} if panel.base is None else set()
    left_out |= set() if has_signs(panel.explanation.attributions) else {"signed"}
    return [kind for kind in get_args(PanelKind) if kind not in left_out]


def _shades(panel: Panel, kinds: list[PanelKind]) -> dict[str, Shades]:
    """The values of each kind of map that the columns need."""
    look, layout = panel.look, panel.layout
    maps: dict[str, Shades] = {"map": absolute(panel.explanation.attributions, look, layout)}
    if "base" in kinds and panel.base is not None:
        maps["base"] = absolute(panel.base, look, layout)
    if {"contours", "top"} & set(kinds):
        sigma = outline_smoothing(panel)
        maps["outline"] = absolute(
            panel.explanation.attributions, replace(look, smooth=sigma, percentile=100), layout
        )
    if "signed" in kinds:
        maps["signed"] = signed(panel.explanation.attributions, look, layout)
    return maps


def outline_smoothing(panel: Panel) -> float:
    """Of maps that are outlined or cut out: without any, a noisy map has no outline."""
    return panel.look.smooth or min(panel.explanation.inputs.shape[-2:]) / 75


def _draw(
    row: dict[PanelKind, "Axes"],
    picture: Array,
    cut: dict[str, Array],
    shades: dict[str, Shades],
    panel: Panel,
) -> None:
    look, heat = panel.look, cut["map"] / shades["map"].high
    chosen = _top(cut.get("outline", heat), look.top)
    grey = picture.mean(2, keepdims=True).repeat(3, 2) * 0.8 + 0.2
    for kind, axis in row.items():
        if kind in ("map", "base"):
            show(axis, cut[kind], shades[kind], look.colours)
        elif kind == "signed":
            show(axis, cut[kind], shades[kind], look.signed_colours)
        elif kind == "overlay":
            show(axis, painted(picture, heat, look))
        elif kind == "top":
            show(axis, np.where(chosen[..., None], picture, 1.0))
        else:
            show(axis, picture if kind == "input" else grey)
        if kind == "contours":
            lines = axis.contour(chosen, levels=[0.5], colors=[_CHOSEN], linewidths=0.9)
            lines.set(antialiased=True)


def painted(picture: Array, heat: Array, look: Look) -> Array:
    """The heat over the photograph in grey, the more opaque the hotter."""
    strength = look.opacity * heat[..., None]
    grey = picture.mean(2, keepdims=True) * 0.8 + 0.2
    result: Array = grey * (1 - strength) + coloured(heat, look.colours) * strength
    return result


def coloured(heat: Array, colours: str = SEQUENTIAL) -> Array:
    """A map in [0, 1] in the colours of all maps, (..., 3)."""
    result: Array = optional("matplotlib", "cli").colormaps[colours](heat)[..., :3]
    return result


def _top(heat: Array, share: float) -> NDArray[np.bool_]:
    """The places among the largest share of a map."""
    count = max(1, round(share * heat.size))
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat.ravel(), kind="stable")[:count]] = True
    return mask.reshape(heat.shape)


def _mark(row: dict[PanelKind, "Axes"], panel: Panel, view: View) -> None:
    """Strokes where no decoy may differ, so that the map says nothing there; regions outlined."""
    if panel.regions is not None:
        region = _cut(panel.regions.cpu().numpy().astype(np.float32), view)
        for kind, axis in row.items():
            if kind not in ("contours", "top") and 0 < region.mean() < 1:
                axis.contour(region, levels=[0.5], colors=[_REGION], linewidths=0.9)
    covered = panel.explanation.details.get("covered")
    if covered is None or covered.shape[:1] != panel.explanation.target.shape:
        return
    absent = _cut(1 - covered.cpu().numpy().astype(np.float32), view) > 0
    for kind, axis in row.items():
        if kind in ("map", "overlay"):
            hatch(axis, absent)


def _say(
    sheet: Sheet,
    row: dict[PanelKind, "Axes"],
    shades: dict[str, Shades],
    panel: Panel,
    view: View,
) -> None:
    first = next(iter(row.values()))
    sheet.title(first, panel.label(view.sample), panel.share(view.sample))
    sheet.say(first, " · ".join(filter(None, [panel.below(view.sample), view.note])))
    if panel.look.scale == "shared":
        return
    for kind, axis in list(row.items())[1:]:
        if kind in shades:
            cap = float(shades[kind].caps[view.sample])
            sheet.say(axis, f"1 = {cap:.2g}")


def _titles(kinds: list[PanelKind], panel: Panel) -> list[str]:
    """What stands above the columns but the first."""
    base, whole = panel.heading()
    told = {
        "base": base,
        "map": whole,
        "signed": "for and against",
        "top": f"largest {panel.look.top:.0%}".replace("%", " %"),
        "contours": f"largest {panel.look.top:.0%}, outlined".replace("%", " %"),
    }
    if "map" not in kinds and "base" not in kinds:
        told["overlay"], told["signed"] = f"{whole}, overlay", f"{whole}, signed"
    return [told.get(kind, kind) for kind in kinds[1:]]


def _bars(kinds: list[PanelKind]) -> list[tuple[str, int, int]]:
    """The scales: of what, and below which columns."""
    places = [place for place, kind in enumerate(kinds) if kind in ("map", "base")]
    if not places and "overlay" in kinds:
        places = [kinds.index("overlay")]
    bars = [("map", places[0], places[-1])] if places else []
    if places and places[-1] - places[0] > 1:  # other columns lie between
        bars = [("map", place, place) for place in places]
    if "signed" in kinds:
        bars.append(("signed", kinds.index("signed"), kinds.index("signed")))
    return bars


def _scales(sheet: Sheet, kinds: list[PanelKind], shades: dict[str, Shades], panel: Panel) -> None:
    for what, first, last in _bars(kinds):
        colours = panel.look.signed_colours if what == "signed" else panel.look.colours
        sheet.scale(first, last, shades[what], colours, _words.unit(what, panel.look))


def _caption(panel: Panel, wide: float, kinds: list[PanelKind]) -> list[Line]:
    recipe, text = _words.caption(panel, kinds)
    return caption_lines(panel.look, wide, recipe, text)


def _sheet(panel: Panel, kinds: list[PanelKind], photos: list[Array]) -> Sheet:
    high, wide = photos[0].shape[-2:]
    frame = Frame(panel.look, len(kinds))
    heads = max(len(frame.lines(text)) for text in ["", *_titles(kinds, panel)])
    bars = _bars(kinds)
    texts = [_words.unit(what, panel.look) for what, *_ in bars]
    foot = scale_height(panel.look, frame.side, texts)
    foot += caption_height(_caption(panel, frame.wide, kinds))
    tall = tallness(high, wide)
    return Sheet(frame, len(photos), tall, heads=heads, foot=foot, make=panel.make)
