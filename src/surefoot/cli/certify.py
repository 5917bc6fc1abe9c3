"""`surefoot certify PHOTO... -o certificate.png`: what no change can do to a map, as a picture."""

import math
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from surefoot import report
from surefoot.attack import Linf
from surefoot.certify import (
    Certificate,
    Certifier,
    Exact,
    Frequencies,
    Sides,
    Smoothed,
    join_certificates,
    sides,
)
from surefoot.cli import _outputs, _pages, _photographs as photographs
from surefoot.cli._options import DEFAULT_STEPS, add
from surefoot.cli._pages import Page
from surefoot.cli._photographs import Case
from surefoot.errors import SurefootError
from surefoot.explain import parse
from surefoot.files import write_tensors

Certified = tuple[Certificate, Sides | None]

HELP = "certify which places of the saliency maps of photographs no change can move"


def parser() -> ArgumentParser:
    """The options of the command."""
    options = photographs.photographs_parser(
        "Say of each place of a photograph's map whether any change of the photograph within a "
        "radius can bring it into the most important places, or take it out of them. By default "
        "of the map under noise (holds for L2 changes, with a probability that is given); with "
        "--exact RADIUS of the map itself (small networks). Draws the photograph beside the map: "
        "certainly important, certainly not, and unknown."
    )
    add(
        options,
        "explainer exact beside steps k sigma draws tau alpha noise reduction seed target "
        "percentile picture rows out save_mask force",
        explainer={
            "default": "Gradient()",
            "help": "whose maps are certified: any, such as IntegratedGradients(steps=16); with "
            "--exact Gradient, InputXGradient, IntegratedGradients or SmoothGrad of those",
        },
        k={
            "default": 0.05,
            "help": "how many places are the most important, or their share below 1",
        },
        seed={"help": "of the noise"},
        steps={"default": DEFAULT_STEPS, "help": "of each search of --beside"},
        out={"default": "certificate.png"},
    )
    return options


def run(settings: Any) -> None:
    """Certify each photograph by itself, then write picture, masks and configuration.

    What is finished is written also when a later photograph fails or the run is interrupted.

    Raises:
        SurefootError: an option, a photograph or a file that cannot be used.
    """
    photos = photographs.given(settings, "certify")
    photographs.check_files(settings, photos, settings.save_mask)
    certifier = _certifier(settings)
    case = photographs.load(settings, photos)
    _pages.each_photograph(
        settings,
        case,
        lambda image, _: _one(settings, case, certifier, image),
        lambda page, finished: _write(settings, page, finished),
        verbs=("certifying", "certified"),
    )


def _one(settings: Any, case: Case, certifier: Certifier[Any], image: Tensor) -> Certified:
    """A photograph's certificate, and what attacks leave if that is asked for."""
    certificate = certifier(case.model, image, case.target).to(torch.device("cpu"))
    if settings.beside is None:
        return certificate, None
    found = sides(
        case.model,
        image,
        certificate.target.to(image.device),
        certifier.explainer,  # type: ignore[attr-defined]
        Linf(settings.exact, steps=settings.steps),
        k=settings.k,
        effort=settings.beside,
        reduction=settings.reduction,
        seed=settings.seed,
    )
    return certificate, found


def _certifier(settings: Any) -> Certifier[Any]:
    if settings.beside is not None and settings.exact is None:
        raise SurefootError(
            "--beside compares what is proved of the map itself with what attacks find; give "
            "--exact RADIUS with it"
        )
    explainer = parse(settings.explainer)
    if settings.exact is not None:
        return Exact(explainer, settings.exact, settings.k, reduction=settings.reduction)
    return Smoothed(
        explainer,
        k=settings.k,
        sigma=settings.sigma,
        samples=settings.draws,
        tau=settings.tau,
        alpha=settings.alpha,
        seed=settings.seed,
        guesses=max(1, settings.draws // 10),
        noise=settings.noise,
        reduction=settings.reduction,
    )


def _write(settings: Any, page: Page, finished: list[Certified]) -> dict[str, Any]:
    whole = join_certificates([certificate for certificate, _ in finished])
    beside = [found for _, found in finished if found is not None]
    names = page.case.names
    files: list[Path] = []
    if settings.save_mask:
        files.append(page.path(settings.save_mask))
        write_tensors(files[0], _content(whole), {"certifier": repr(whole.recipe)})
    figure = report.certificate_picture(
        whole, labels=page.case.card.labels, names=names, size=settings.picture
    )
    files[:0] = _pages.write_picture(
        settings,
        page,
        report.render(figure, Path(settings.out).suffix.lower()),
        command="certify",
        parser=parser(),
        used={},
    )
    _outputs.say(settings, report.certificate_table(whole, names))
    if beside:
        _outputs.say(settings, report.sides_table(beside, names))
    _outputs.wrote(settings, files)
    return _found(page.case, whole, files, beside)


def _found(
    case: Case, whole: Certificate, files: list[Path], beside: list[Sides]
) -> dict[str, Any]:
    """What was found, by name."""
    shares = ("certified", "certified_in", "certified_out", "overlap")
    each: list[dict[str, Any]] = [
        {"photograph": case.photos[row], "label": case.label(int(whole.target[row]))}
        | {name: round(float(getattr(whole, name)[row]), 4) for name in shares}
        for row in range(len(whole))
    ]
    for line, found in zip(each, beside, strict=False):
        line["left"] = {
            name: None if math.isnan(value) else round(value, 4)
            for name, value in found.means().items()
        }
    return {
        "command": "certify",
        "certifier": repr(whole.recipe),
        "radius": whole.radius,
        "norm": whole.norm,
        "failure": whole.failure,
        "maps": whole.maps,
        "photographs": each,
        "files": list(map(str, files)),
    }


def _content(whole: Certificate) -> dict[str, Tensor]:
    content = {"inputs": whole.inputs, "mask": whole.mask, "target": whole.target}
    content |= {"overlap": whole.overlap}
    if isinstance(whole, Frequencies):
        content["frequency"] = whole.frequency
    return content
