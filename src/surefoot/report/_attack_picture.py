"""An attack on explanations as a figure: what was changed, and what became of the maps."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from surefoot.attack import AttackResult
from surefoot.errors import optional
from surefoot.explain import heatmap
from surefoot.report._attack_rows import changed, pixel_steps, recipes
from surefoot.report._attacked import Attacked
from surefoot.report._canvas import (
    LINE,
    Frame,
    Sheet,
    caption_height,
    caption_lines,
    new_figure,
    pixels,
    rgb,
    scale_height,
    show,
    tallness,
    write_caption,
)
from surefoot.report._look import GREY, INK, Look
from surefoot.report._picture import draw, each_part
from surefoot.report._region import Make, together
from surefoot.report._shades import Array, ends
from surefoot.report._text import drawable, families, fitted, inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from surefoot.report._figure import Picture

_COLUMNS, _LABELS, _SCORE = 5, 0.2015, 0.115  # shares of a row: before its scores, and of each
_SCALE = "|attribution|, largest of the channels, each map by itself"


def attack_picture(attacked: Attacked | AttackResult, **choices: Any) -> "Picture":
    """An attack's result as a matplotlib figure, one row a sample; shows itself in a notebook.

    A row of images shows the input, the perturbed input, their difference around grey, magnified
    by a power of two that the title states, and the maps before and after, as
    `surefoot.explain.heatmap` makes them, each scaled by itself. Below it stand the scores, with
    those of random signs of the same size under them. Of volumes the middle slice is shown.
    Signals, sentences and records show their maps before and after as `surefoot.report.picture`
    does, and the scores in the caption; several inputs stand beside each other.

    Args:
        attacked: the result, or with it what it must be read beside.
        choices: `percentile`, `colours`, `size` and, of other inputs than images, `features` of
            `surefoot.report.picture`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: inputs without a layout, an unknown choice.

    >>> import torch
    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 9), torch.nn.ReLU())
    >>> net = torch.nn.Sequential(net, torch.nn.Linear(9, 2)).eval()
    >>> found = TopK(Linf(0.1, steps=2), k=4)(net, torch.rand(2, 3, 4, 4), None, Gradient())
    >>> figure = attack_picture(found)
    >>> len(figure.axes) >= 2 * 5  # two rows of five pictures
    True
    """
    optional("matplotlib", "cli")
    several = Attacked.of(attacked).parts()
    texts = each_part(choices.pop("features", None), len(several))
    look = Look.of(**choices)
    look.check()
    draws = [
        partial(_images, part, look)
        if part.result.originals.ndim in (4, 5)
        else partial(draw, changed(part, features, **choices))
        for part, features in zip(several, texts, strict=True)
    ]
    return draws[0]() if len(draws) == 1 else together(draws, look)


def _images(attacked: Attacked, look: Look, make: Make = new_figure) -> "Picture":
    shape = tuple(attacked.result.originals.shape)
    frame = Frame(look, _COLUMNS)
    lines = caption_lines(look, frame.wide, recipes(attacked), _told(attacked, look))
    foot = scale_height(look, frame.left(1) * 2, [_SCALE]) + caption_height(lines)
    table = 3 if attacked.control else 2
    tall = tallness(*shape[-2:])
    heads = max(len(frame.lines(text)) for text in _titles(attacked))
    sheet = Sheet(frame, shape[0], tall, heads=heads, below=2 + table, foot=foot, make=make)
    _draw(sheet, attacked, look)
    for row in range(shape[0]):
        _scores(sheet, attacked, row)
    sheet.scale(3, 4, ends(0, 1), look.colours, _SCALE)
    write_caption(sheet.figure, lines)
    sheet.figure.alt = alt(attacked)
    sheet.figure.about = {"attack": recipes(attacked)}
    return sheet.figure


def _draw(sheet: Sheet, attacked: Attacked, look: Look) -> None:
    result = attacked.result
    before, after = (_flat(each, result) for each in (result.originals, result.inputs))
    heats = [
        _flat(heatmap(each, look.percentile, layout=result.layout), result)
        for each in (result.before, result.after)
    ]
    difference = result.inputs.double() - result.originals.double()
    change, factor = _flat(difference, result), magnification(float(difference.abs().max()))
    for row, five in enumerate(sheet.axes):
        grey = (0.5 + factor * rgb(change[row])).clip(0, 1)
        for axis, each in zip(five, (pixels(before[row]), pixels(after[row]), grey), strict=False):
            show(axis, each)
        for axis, heat in zip(five[3:], heats, strict=True):
            show(axis, heat[row], ends(0, 1), look.colours)
        _say(sheet, five, attacked, row)
    for axis, text in zip(sheet.axes[0], _titles(attacked), strict=True):
        sheet.head(axis, text)


def _flat(values: Tensor, result: AttackResult) -> Array:
    """Images as they are; the middle slice of volumes, which end in (D, H, W)."""
    if result.originals.ndim == 5:
        values = values[..., values.shape[-3] // 2, :, :]
    array: Array = values.detach().float().cpu().numpy()
    return array


def magnification(most: float) -> int:
    """The largest power of two that keeps a difference inside half the range of a pixel.

    >>> magnification(1 / 255), magnification(0.0)
    (64, 1)
    """
    return max(1, 2 ** math.floor(math.log2(0.5 / most * (1 + 1e-6)))) if most > 0 else 1


def _titles(attacked: Attacked) -> list[str]:
    """What stands above the columns."""
    result, name = attacked.result, attacked.maps()
    most = float((result.inputs.double() - result.originals.double()).abs().max())
    said = f"difference ×{magnification(most)}, at most {pixel_steps(most)}"  # noqa: RUF001 (sign)
    shown = said if most else "difference: none"
    return ["original", "perturbed", shown, f"{name}, before", f"{name}, after"]


def _say(sheet: Sheet, axes: Any, attacked: Attacked, row: int) -> None:
    before, after = attacked.predictions(row)
    sheet.say(axes[0], before, bold=True)
    if inches(f"{after}, kept", sheet.type.text, bold=True) > sheet.frame.side:
        after = after.rpartition(", ")[2]  # the class is the same
    kept = f"{after}, kept".lstrip(" ,") if attacked.kept(row) else "none kept the prediction"
    sheet.say(axes[1], kept, bold=True)
    sheet.say(axes[3], f"for {attacked.explained(row)}")


def _scores(sheet: Sheet, attacked: Attacked, row: int) -> None:
    """The sample's name and scores as a small table, below the images."""
    size, frame = sheet.type.text, sheet.frame
    line = size * LINE
    lines = [(attacked.name(row), attacked.heads()), *attacked.scores(row)]
    across = frame.wide - 2 * frame.left(0)
    top = sheet.bottom(row) - 1.6 * line
    wide, high = sheet.figure.get_size_inches()
    place = (frame.left(0) / wide, (top - len(lines) * line) / high)
    band = sheet.figure.add_axes((*place, across / wide, len(lines) * line / high))
    band.set_axis_off()
    for number, (who, cells) in enumerate(lines):
        bold = number == 1
        style = {"color": INK, "fontweight": "bold"} if bold else {"color": GREY}
        for column, cell in enumerate([who, *cells]):
            at = _LABELS + _SCORE * (column - 1) if column else 0
            room = across * ((_SCORE if column else _LABELS) - 0.005)
            text = fitted(drawable(cell), room, size, bold=bold)
            place = (at, 1 - number / len(lines))
            _cell(band, text, place, fontsize=size, **style)


def _cell(band: "Axes", text: str, place: tuple[float, float], **style: Any) -> None:
    style |= {"xycoords": "axes fraction", "va": "top", "parse_math": False}
    band.annotate(text, place, family=families([text]), **style)


def _told(attacked: Attacked, look: Look) -> str:
    said = [f"Maps capped at percentile {look.percentile:g}, each scaled by itself"]
    if attacked.control:
        said.append("the scores of random signs of the same size are the floor to read beside")
    return "; ".join(said) + "."


def alt(attacked: Attacked) -> str:
    """The picture in words."""
    rows = []
    for row in range(min(len(attacked.result), 8)):
        before, _ = attacked.predictions(row)
        who, cells = attacked.scores(row)[0]
        scores = ", ".join(f"{n} {c}" for n, c in zip(attacked.heads(), cells, strict=True))
        named = attacked.name(row) or f"sample {row + 1}"
        rows.append(f"{named}{before and f' ({before})'}: {who}, {scores}.")
    return f"An attack on {attacked.maps()}. {' '.join(rows)}"
