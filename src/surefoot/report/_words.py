"""What a picture says in words: the recipe, what the numbers are, and what those see who cannot."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surefoot import maps
from surefoot.errors import SurefootError
from surefoot.report import _pieces
from surefoot.report._look import DIVERGING, Look
from surefoot.report._panel import Panel, percent, short_name

_LONG = 600  # characters of a recipe, beyond which its names stand alone
_CHANNELS = {"image": "channels", "volume": "channels", "signal": "channels"}


def recipe(panel: Panel) -> str:
    """The recipe that made the maps, and how much of the input its decoys cover."""
    if panel.after is not None:
        return panel.after.recipe
    explanation = panel.explanation
    text = repr(explanation.explainer)
    text = text if len(text) < _LONG else short_name(explanation.explainer)
    coverage = explanation.details.get("coverage")
    if coverage is not None and coverage.ndim == 0:
        text += f"   covers {float(coverage):.0%} of the places"
    return text


def unit(what: str, look: Look) -> str:
    """What stands below the scale of "map" or of "signed"."""
    if what == "signed":
        return f"{_against(look)}, sum of channels"
    return "|attribution|, largest of the channels"


def _against(look: Look) -> str:
    return "against (blue) · for (red)" if look.signed_colours == DIVERGING else "against · for"


def caption(panel: Panel, kinds: Sequence[str], more: Sequence[str] = ()) -> tuple[str, str]:
    """The recipe, and what the numbers are: enough for a picture that stands alone."""
    look = panel.look
    said = [_scaled(look, kinds), *_seen(panel, kinds)]
    if look.smooth:
        said.append(f"maps smoothed by a Gaussian of {look.smooth:g} places")
    elif {"contours", "top"} & set(kinds):
        sigma = min(panel.explanation.inputs.shape[-2:]) / 75
        said.append(f"outlined after smoothing by a Gaussian of {sigma:.2g} places")
    if panel.regions is not None:
        said.append("outlined in cyan: the regions given")
    covered = panel.explanation.details.get("covered")
    if covered is not None and not covered.all():
        said.append("strokes: no decoy covers it, and the map says nothing there")
    return recipe(panel), sentence([*said, *more, *last(panel)])


def last(panel: Panel) -> list[str]:
    """What ends every caption: the model, and the scores of an attack."""
    model = panel.explanation.model
    scores = [] if panel.after is None else [panel.after.scores]
    return [*([f"model: {model}"] if model else []), *scores]


def sentence(parts: Sequence[str]) -> str:
    """Remarks in a row, ended by a full stop."""
    return "; ".join(parts) + "."


def _scaled(look: Look, kinds: Sequence[str]) -> str:
    cap = "" if look.percentile == 100 else f", capped at percentile {look.percentile:g}"
    if look.scale == "shared":
        return f"All maps on one scale{cap}"
    below = bool({"map", "base", "signed"} & set(kinds[1:]))
    more = "; below it, the attribution at the end of its scale" if below else ""
    return f"Each map scaled by itself{cap}{more}"


def _seen(panel: Panel, kinds: Sequence[str]) -> list[str]:
    """Remarks about the pixels, and about what is hard to tell from a picture."""
    inputs, said = panel.explanation.inputs, []
    if "input" in kinds and inputs.ndim > 3:
        low, high = float(inputs.min()), float(inputs.max())
        if low < 0 or high > 1:
            said.append(f"inputs from {low:.2g} (black) to {high:.2g} (white)")
        if inputs.shape[1] not in (1, 3):
            said.append(f"the mean of {inputs.shape[1]} channels is shown")
    zero = [not bool(each.any()) for each in panel.explanation.attributions]
    if any(zero):
        said.append("a map is zero everywhere" if sum(zero) == 1 else "maps are zero everywhere")
    return said


def about(panel: Panel) -> dict[str, str]:
    """What the metadata of the picture's file hold, beside versions."""
    look = panel.look
    shown = {name: value for name, value in vars(look).items() if value != getattr(Look(), name)}
    return {
        "explainer": repr(panel.explanation.explainer),
        "model": panel.explanation.model or "unknown",
        "layout": panel.layout,
        "target": ", ".join(map(str, panel.explanation.target.tolist()[:100])),
        "picture": ", ".join(f"{name}={value!r}" for name, value in shown.items()) or "as it is",
    }


def alt(panel: Panel) -> str:
    """The picture in words."""
    rows = [_row(panel, row) for row in range(min(panel.rows, 8))]
    more = f" And {panel.rows - 8} more." if panel.rows > 8 else ""
    _, whole = panel.heading()
    scores = "" if panel.after is None else f" {panel.after.scores}."
    return f"Saliency maps by {whole}. {' '.join(rows)}{more}{scores}"


def _row(panel: Panel, row: int) -> str:
    name = panel.name(row) or f"sample {row + 1}"
    said = f"{name}: {panel.title(row)}"
    predicted = panel.predicted(row)
    where = strongest(panel, row)
    return f"{said}{f' ({predicted})' if predicted else ''}; {where}."


def strongest(panel: Panel, row: int) -> str:
    """Where most of a sample's map lies, in words."""
    attributions = panel.explanation.attributions[row : row + 1].detach()
    mass = maps.reduce(attributions, "sum_abs", panel.layout)[0].double().cpu()
    if not mass.any():
        return "the map is zero everywhere"
    if mass.ndim >= 2:
        return f"strongest in the {_corner(mass)}{_inside(panel, row, mass)}"
    names = None if panel.layout == "signal" else panel.places(row)
    if panel.layout == "tokens" and names:
        words = _pieces.sentence(panel, row, panel.explanation.attributions)
        return f"strongest at {', '.join(_pieces.heaviest(words)) or 'no word of its own'}"
    best = mass.argsort(descending=True)[:3].tolist()
    shown = [names[place] if names and place < len(names) else f"place {place}" for place in best]
    return f"strongest at {', '.join(shown)}"


def _corner(mass: Tensor) -> str:
    """The ninth of a map with the largest part of its absolute mass."""
    plane = mass if mass.ndim == 2 else mass.sum(0)
    cells = [
        [part.sum() for part in torch.tensor_split(band, 3, 1)]
        for band in torch.tensor_split(plane, 3)
    ]
    sums = torch.stack([torch.stack(band) for band in cells])
    place = int(sums.argmax())
    rows, columns = ("upper", "middle", "lower"), ("left", "middle", "right")
    words = (rows[place // 3], columns[place % 3])
    share = percent(float(sums.max() / sums.sum()))
    return f"{'middle' if words == ('middle', 'middle') else ' '.join(words)} ({share} of it)"


def _inside(panel: Panel, row: int, mass: Tensor) -> str:
    """What share of a map's absolute mass lies in the sample's region."""
    if panel.regions is None:
        return ""
    share = float((mass * panel.regions[row].cpu()).sum() / mass.sum())
    return f", {percent(share)} of it in the region outlined"


def check(panel: Panel) -> None:
    """Raise for what does not fit the explanation."""
    shape = tuple(panel.explanation.inputs.shape)
    if not 2 <= len(shape) <= 5:
        raise SurefootError(
            f"cannot draw inputs of shape {shape}; expected images (N, C, H, W), volumes "
            "(N, C, D, H, W), signals (N, C, L), tokens (N, T, D) or records (N, F)"
        )
    if panel.base is not None and tuple(panel.base.shape) != shape:
        raise SurefootError(f"base has shape {tuple(panel.base.shape)}, expected {shape}")
    if panel.names is not None and len(panel.names) != shape[0]:
        raise SurefootError(f"there are {len(panel.names)} names for {shape[0]} samples")
    panel.look.check()
    _check_features(panel)
    _check_regions(panel)


def _check_features(panel: Panel) -> None:
    if panel.features is None:
        return
    axis = 1 if panel.layout in ("tokens", "record", "signal") else None
    wanted = 0 if axis is None else panel.explanation.inputs.shape[axis]
    nested = len(panel.features) > 0 and not isinstance(panel.features[0], str)
    if axis is None or (nested and len(panel.features) != panel.rows):
        raise SurefootError(
            f"features are names of the tokens, fields or channels of layout {panel.layout!r}; "
            "expected none for images, else one list, or one a sample"
        )
    for row in range(panel.rows):
        found = len(panel.places(row) or [])
        if found > wanted or (found < wanted and not (nested and panel.layout == "tokens")):
            raise SurefootError(f"there are {found} feature names for {wanted} places")


def _check_regions(panel: Panel) -> None:
    if panel.regions is None:
        return
    shape, found = panel.explanation.inputs.shape, tuple(panel.regions.shape)
    wanted = (shape[0], *shape[2:])
    if panel.layout not in ("image", "volume") or found != wanted:
        raise SurefootError(f"regions has shape {found}, expected {wanted} of images or volumes")
