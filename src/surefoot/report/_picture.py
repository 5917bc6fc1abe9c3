"""An explanation as a figure, one row a sample."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from surefoot.errors import SurefootError, optional
from surefoot.explain import Explanation, Sentences
from surefoot.maps import Parts
from surefoot.report import _words
from surefoot.report._canvas import new_figure
from surefoot.report._images import draw_images
from surefoot.report._look import Look
from surefoot.report._panel import Names, Panel
from surefoot.report._records import draw_records
from surefoot.report._region import Make, together
from surefoot.report._sentences import draw_sentences
from surefoot.report._signals import draw_signals

if TYPE_CHECKING:
    from surefoot.report._figure import Picture

NOTEBOOK_ROWS = 8


def picture(
    explanation: Explanation | Sentences,
    *,
    base: Tensor | Sequence[Tensor | None] | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    features: Names | Sequence[Names | None] | None = None,
    percentile: float = 95,
    regions: Tensor | None = None,
    **choices: Any,
) -> "Picture":
    """The explanation as a matplotlib figure, one row a sample; shows itself in a notebook.

    Images and volumes show the input with class and probability, the base explainer's own map if
    it is given, the map, what speaks for and against where the method tells, and the map laid
    over the input. Signals are a line over the colours of their map, channel by channel;
    sentences are coloured words, if `features` has them; records are bars, the largest first.

    Args:
        explanation: from `explainer.explain(...)`, or from `explain.sentences(...)`.
        base: attributions of the explainer that is wrapped, shaped like the inputs. Of several
            inputs, this, `features` and `regions` are lists with one for each, None where there is
            none.
        labels: class names, in the order of the logits; None takes the explanation's own.
        names: of the samples, such as file names.
        features: names of tokens, fields or channels: one list, or one a sample.
        percentile: at which maps are capped, in (0, 100].
        regions: (N, H, W) bool, or (N, D, H, W), outlined on images or volumes: what a segmenting
            model gives to the class explained, or what somebody marked.
        choices: further ones, each said in the caption:
            panels: the columns of images, of "input", "base", "map", "signed", "overlay",
                "contours" and "top"; None chooses by what the method gives.
            colours: matplotlib's name of a colour map for sizes (default "inferno").
            signed_colours: the same for two signs, zero in its middle (default "RdBu_r").
            opacity: of the overlay, in (0, 1].
            scale: "each" map by itself, or "shared": all by one, in attributions.
            smooth: standard deviation in places of a Gaussian over the maps, 0 for none.
            top: share of places in "contours" and "top", in (0, 1].
            size: "screen", "slide" (13 inches wide), "paper" (6.75) or "column" (3.33).
            slices: of volumes: how many, a list of them, or "projection".

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: inputs that have no layout; a base, names or a choice that does not fit.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    >>> figure = picture(Gradient().explain(net, torch.rand(2, 3, 4, 4)), names=["cat", "dog"])
    >>> figure.alt.count("cat"), len(figure.axes) >= 2 * 3
    (1, True)
    """
    explanation, features = spoken(explanation, features)
    several = parts(explanation)
    bases, texts, outlines = (each_part(x, len(several)) for x in (base, features, regions))
    panels = [
        make_panel(each, own, labels, names, told, percentile, marked, **choices)
        for each, own, told, marked in zip(several, bases, texts, outlines, strict=True)
    ]
    if len(panels) == 1:
        return draw(panels[0])
    return together([partial(draw, panel) for panel in panels], panels[0].look)


def spoken(
    found: Explanation | Sentences, features: Any, rows: int | None = None
) -> tuple[Explanation, Any]:
    """The explanation and the names of its parts: of sentences their tokens, of the first rows."""
    if not isinstance(found, Sentences):
        return found, features
    words = [list(row) for row in found.tokens[:rows]]
    return found.explanation, words if features is None else features


def draw(panel: Panel, make: Make = new_figure) -> "Picture":
    """The figure of a panel."""
    figure = _drawer(panel)(replace(panel, make=make))
    figure.alt, figure.about = _words.alt(panel), _words.about(panel)
    return figure


def each_part(given: Any, count: int) -> Sequence[Any]:
    """What was given for each of several inputs; for one, itself."""
    if count == 1:
        return [given]
    if given is None:
        return [None] * count
    if not isinstance(given, Sequence) or len(given) != count or isinstance(given[0], str):
        raise SurefootError(
            f"the explanation is of {count} inputs; give base, features and regions as lists of "
            f"{count}, None where an input has none"
        )
    return given


def make_panel(
    explanation: Explanation,
    base: Tensor | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    features: Names | None = None,
    percentile: float = 95,
    regions: Tensor | None = None,
    **choices: Any,
) -> Panel:
    """The arguments of `picture`, checked."""
    optional("matplotlib", "cli")
    if isinstance(choices.get("panels"), list):
        choices["panels"] = tuple(choices["panels"])
    look = Look.of(percentile=percentile, **choices)
    labels = explanation.labels if labels is None else labels
    panel = Panel(explanation, base, labels, names, features, look, regions)
    _words.check(panel)
    return panel


def png(explanation: Explanation) -> bytes:
    """What a notebook shows: the first rows of the explanation.

    >>> import torch
    >>> from surefoot.explain import Gradient
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    >>> png(Gradient().explain(net, torch.rand(1, 3, 4, 4)))[1:4]
    b'PNG'
    """
    return picture(first(explanation, NOTEBOOK_ROWS))._repr_png_()


def parts(explanation: Explanation) -> list[Explanation]:
    """An explanation of each of several inputs; of one input, itself."""
    if not isinstance(explanation.layout, Parts):
        return [explanation]
    layouts = explanation.layout.layouts
    several = zip(explanation.inputs, explanation.attributions, layouts, strict=True)
    return [
        replace(explanation, inputs=inputs, attributions=maps, layout=layout, details={})
        for inputs, maps, layout in several
    ]


def first(explanation: Explanation, rows: int) -> Explanation:
    """The first samples of an explanation."""

    def few(value: Any) -> Any:
        return tuple(each[:rows] for each in value) if isinstance(value, tuple) else value[:rows]

    count = len(explanation.target)
    details = {
        name: value[:rows] if value.ndim and len(value) == count else value
        for name, value in explanation.details.items()
    }
    return replace(
        explanation,
        inputs=few(explanation.inputs),
        attributions=few(explanation.attributions),
        target=explanation.target[:rows],
        probabilities=explanation.probabilities[:rows],
        details=details,
    )


def _drawer(panel: Panel) -> Callable[[Panel], "Picture"]:
    """What draws inputs of that layout."""
    if panel.layout in ("image", "volume"):
        return draw_images
    if panel.layout == "signal":
        return draw_signals
    spoken = panel.layout == "tokens" and panel.features is not None
    return draw_sentences if spoken else draw_records
