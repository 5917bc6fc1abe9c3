"""`surefoot explain PHOTO... -o map.png`: saliency maps of photographs, as a picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from surefoot import report
from surefoot.cli import _photographs as photographs
from surefoot.cli._options import add
from surefoot.cli._photographs import Case
from surefoot.explain import Explainer, Explanation, join_explanations, parse

HELP = "draw saliency maps of photographs"
DEFAULT_EXPLAINER = "Decoy(IntegratedGradients(steps=8))"

Finished = tuple[Explanation, Tensor | None]


def parser() -> ArgumentParser:
    """The options of the command."""
    options = photographs.photographs_parser(
        "Explain what a classifier sees in photographs, and draw it: the photograph, the plain "
        "map, the enhanced map, and the overlay."
    )
    add(
        options,
        "explainer target percentile panels colours opacity scale smooth top picture out "
        "save_attributions",
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
    photographs.check_files(settings, settings.save_attributions)
    explainer = parse(settings.explainer)
    case = photographs.load(settings, photos)
    photographs.each_photograph(
        case,
        lambda image, _: _explain(explainer, case, image),
        lambda finished: _write(settings, case, finished),
        verbs=("explaining", "explained"),
    )


def _explain(explainer: Explainer, case: Case, image: Tensor) -> Finished:
    """One photograph's explanation, and the map of the explainer that is wrapped, if one is."""
    result = explainer.explain(case.model, image, case.target)
    base = getattr(explainer, "base", None)
    plain = base(case.model, image, result.target).cpu() if isinstance(base, Explainer) else None
    return replace(
        result,
        inputs=result.inputs.cpu(),
        attributions=result.attributions.cpu(),
        target=result.target.cpu(),
        probabilities=result.probabilities.cpu(),
        details={name: value.cpu() for name, value in result.details.items()},
    ), plain


def _write(settings: Any, case: Case, finished: list[Finished]) -> None:
    whole = join_explanations([explanation for explanation, _ in finished])
    bases = [plain for _, plain in finished if plain is not None]
    if settings.save_attributions:
        whole.save(settings.save_attributions)
    figure = report.picture(
        whole,
        base=torch.cat(bases) if bases else None,
        labels=case.card.labels,
        names=case.names(len(finished)),
        **photographs.look(settings),
    )
    photographs.write_picture(
        settings,
        case,
        len(finished),
        report.render(figure, Path(settings.out).suffix.lower()),
        command="explain",
        parser=parser(),
        used={"explainer": repr(whole.explainer)},
    )
