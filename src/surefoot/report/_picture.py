"""An explanation as a figure, one row a sample."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from surefoot.errors import SurefootError, optional
from surefoot.explain import Explanation
from surefoot.report._bars import draw_bars
from surefoot.report._canvas import caption
from surefoot.report._images import draw_images
from surefoot.report._panel import Panel, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")
_NOTEBOOK_ROWS = 8


def picture(
    explanation: Explanation,
    *,
    base: Tensor | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    percentile: float = 95,
) -> "Figure":
    """The explanation as a matplotlib figure, one row a sample.

    Images show the photograph with class and confidence, the base explainer's own map if it is
    given, the map, and the map laid over the photograph; maps are heat maps as
    `surefoot.explain.heatmap` makes them, each scaled by itself. Volumes show their middle slice.
    Tokens and records show one signed bar a place, unscaled, tokens summed over the embedding.

    Args:
        explanation: from `explainer.explain(...)`.
        base: attributions of the explainer that is wrapped, shaped like the inputs.
        labels: class names, in the order of the logits.
        names: of the samples, such as file names.
        features: of the places of tokens and records.
        percentile: at which heat maps are capped.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SurefootError: inputs that are neither images, volumes, tokens nor records; a base or
            names that do not fit.
    """
    optional("matplotlib", "cli")
    _check(explanation, base, names)
    panel = Panel(explanation, base, labels, names, features, percentile)
    draw = draw_images if explanation.inputs.ndim in (4, 5) else draw_bars
    figure: Figure = draw(panel)
    caption(figure, _caption(explanation))
    return figure


def render(figure: "Figure", suffix: str = ".png", dpi: int = 150) -> bytes:
    """The figure as the bytes of a file of that kind, see `SUFFIXES`."""
    buffer = io.BytesIO()
    # Without it, a vector graphic would hold the time it was made.
    undated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    kind = suffix.removeprefix(".")
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=undated.get(suffix))
    return buffer.getvalue()


def png(explanation: Explanation) -> bytes:
    """What a notebook shows: the first rows of the explanation."""
    return render(picture(_first(explanation, _NOTEBOOK_ROWS)), dpi=110)


def check_suffix(path: Path) -> None:
    """Raise unless a picture can be written under that name."""
    if path.suffix.lower() not in SUFFIXES:
        raise SurefootError(
            f"cannot draw to {path}; its name must end in one of {', '.join(SUFFIXES)}"
        )


def _first(explanation: Explanation, rows: int) -> Explanation:
    return replace(
        explanation,
        inputs=explanation.inputs[:rows],
        attributions=explanation.attributions[:rows],
        target=explanation.target[:rows],
        probabilities=explanation.probabilities[:rows],
        details={},
    )


def _check(explanation: Explanation, base: Tensor | None, names: Sequence[str] | None) -> None:
    shape = tuple(explanation.inputs.shape)
    if not 2 <= len(shape) <= 5:
        raise SurefootError(
            f"cannot draw inputs of shape {shape}; expected images (N, C, H, W), volumes "
            "(N, C, D, H, W), tokens (N, T, D) or records (N, F)"
        )
    if base is not None and tuple(base.shape) != shape:
        raise SurefootError(f"base has shape {tuple(base.shape)}, expected {shape}")
    if names is not None and len(names) != shape[0]:
        raise SurefootError(f"there are {len(names)} names for {shape[0]} samples")


def _caption(explanation: Explanation) -> str:
    text = repr(explanation.explainer)
    coverage = explanation.details.get("coverage")
    if coverage is not None and coverage.ndim == 0:
        text += f"   covers {float(coverage):.0%} of the places"
    return text if len(text) < 400 else short_name(explanation.explainer)
