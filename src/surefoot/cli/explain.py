"""`surefoot explain PHOTO... -o map.png`: saliency maps of photographs, as a picture."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from surefoot import report
from surefoot.cli import (
    _outputs,
    _overlay,
    _pages,
    _passes,
    _photographs as photographs,
    _preview,
    _tiles,
)
from surefoot.cli._options import add
from surefoot.cli._pages import Page, Progress
from surefoot.cli._photographs import Case
from surefoot.errors import SurefootError
from surefoot.explain import Explainer, Explanation, join_explanations, parse

HELP = "draw saliency maps of photographs"
DEFAULT_EXPLAINER = "Decoy(IntegratedGradients(steps=8))"

Finished = tuple[Explanation, Tensor | None, float]


def parser() -> ArgumentParser:
    """The options of the command."""
    options = photographs.photographs_parser(
        "Explain what a classifier sees in photographs, and draw it: the photograph, the plain "
        "map, the enhanced map, and the overlay."
    )
    add(
        options,
        "explainer target percentile panels colours opacity scale smooth top picture rows out "
        "overlay save_attributions force preview",
        explainer={"default": DEFAULT_EXPLAINER},
        out={"default": "map.png"},
    )
    return options


def run(settings: Any) -> None:
    """Explain each photograph by itself, then write picture, attributions and configuration.

    What is finished is written also when a later photograph fails or the run is interrupted.

    Raises:
        SurefootError: an option, a photograph or a file that cannot be used.
    """
    photos = photographs.given(settings, "explain")
    photographs.check_files(settings, photos, settings.save_attributions, settings.overlay)
    _check_single(settings, photos)
    explainer = parse(settings.explainer)
    case = photographs.load(settings, photos, tiles=True)
    if settings.preview:
        _preview.show(_middle(case.images[0], case.size), case.model, case.target, photos[0])
    tiled = case.fit == "tile"
    units = _passes.expected(explainer) + _passes.expected(getattr(explainer, "base", None))
    _pages.each_photograph(
        settings,
        case,
        lambda image, progress: _explain(explainer, case, image, progress),
        lambda page, finished: _write(settings, page, finished),
        verbs=("explaining", "explained"),
        units=len(list(_tiles.each(case.images[0], case.size))) if tiled else units,
        unit="tile" if tiled else "pass",
        passes=not tiled,
    )


def _middle(image: Tensor, size: int) -> Tensor:
    """The square in the middle of a photograph that may be larger than the model's input."""
    top, left = ((side - size) // 2 for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]


def _check_single(settings: Any, photos: list[str]) -> None:
    for option, given in (("--fit tile", settings.fit == "tile"), ("--overlay", settings.overlay)):
        if given and len(photos) > 1:
            raise SurefootError(
                f"{option} takes one photograph at a time, and {len(photos)} were given"
            )


def _explain(explainer: Explainer, case: Case, image: Tensor, progress: Progress) -> Finished:
    """One photograph's explanation, and the map of the explainer that is wrapped, if one is."""
    began = perf_counter()
    if case.fit == "tile":
        result = _tiles.explain(explainer, case.model, image, case.target, case.size, progress)
        return _on_cpu(result), None, perf_counter() - began
    result = explainer.explain(case.model, image, case.target)
    base = getattr(explainer, "base", None)
    plain = base(case.model, image, result.target).cpu() if isinstance(base, Explainer) else None
    return _on_cpu(result), plain, perf_counter() - began


def _on_cpu(result: Explanation) -> Explanation:
    return replace(
        result,
        inputs=result.inputs.cpu(),
        attributions=result.attributions.cpu(),
        target=result.target.cpu(),
        probabilities=result.probabilities.cpu(),
        details={name: value.cpu() for name, value in result.details.items()},
    )


def _write(settings: Any, page: Page, finished: list[Finished]) -> dict[str, Any]:
    case = page.case
    whole = join_explanations([explanation for explanation, *_ in finished])
    whole = replace(whole, labels=case.card.labels, model=case.card.name or whole.model)
    bases = [plain for _, plain, _ in finished if plain is not None]
    look = photographs.look(settings)
    figure = report.picture(
        _tiles.shown(whole), base=torch.cat(bases) if bases else None, names=case.names, **look
    )
    files: list[Path] = []
    if settings.save_attributions:
        files.append(page.path(settings.save_attributions))
        whole.save(files[0])
    if settings.overlay:
        files.append(Path(settings.overlay))
        _overlay.write(settings.overlay, case.photos[0], whole, case.fit, report.Look.of(**look))
    files[:0] = _pages.write_picture(
        settings,
        page,
        report.render(figure, Path(settings.out).suffix.lower()),
        command="explain",
        parser=parser(),
        used={"explainer": repr(whole.explainer)},
    )
    found = [_found(case, row, whole, seconds) for row, (*_, seconds) in enumerate(finished)]
    if settings.preview:
        _preview.refined(_tiles.shown(whole), f"{case.photos[0]}, {found[0]['label']}")
    _outputs.say(settings, [_line(each) for each in found])
    _outputs.wrote(settings, files)
    return {
        "command": "explain",
        "explainer": repr(whole.explainer),
        "model": whole.model,
        "photographs": found,
        "files": list(map(str, files)),
    }


def _found(case: Case, row: int, whole: Explanation, seconds: float) -> dict[str, Any]:
    """What was found of a photograph, by name."""
    target, shares = int(whole.target[row]), whole.probabilities[row]
    best = int(shares.argmax())
    coverage = whole.details.get("coverage")
    found: dict[str, Any] = {
        "photograph": case.photos[row],
        "class": target,
        "label": case.label(target),
        "probability": round(float(shares[target]), 6),
        "predicted": case.label(best),
        "layer": getattr(whole.explainer, "layer", None),
        "coverage": None if coverage is None or coverage.ndim else round(float(coverage), 4),
        "sees": case.seen[row] or "all of it",
        "tiles": len(list(_tiles.each(whole.inputs, case.size))) if case.fit == "tile" else 1,
        "seconds": round(seconds, 2),
    }
    return found


def _line(found: Mapping[str, Any]) -> str:
    """The same as a line to read."""
    said = [f"{found['label']}, {report.percent(found['probability'])}"]
    if found["predicted"] != found["label"]:
        said.append(f"predicted: {found['predicted']}")
    if found["layer"] is not None:
        said.append(f"decoys at layer {found['layer']}")
    if found["coverage"] is not None:
        said.append(f"cover {found['coverage']:.0%}".replace("%", " %"))
    if found["tiles"] > 1:
        said.append(f"the mean of {found['tiles']} tiles")
    if found["sees"] != "all of it":
        said.append(f"of {found['sees']} of the photograph")
    return f"{found['photograph']}: {'; '.join(said)}; {found['seconds']:.1f} s"
