"""`surefoot explain PHOTO... -o map.png`: saliency maps of photographs, as a picture."""

import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from tqdm import tqdm

import surefoot
from surefoot import models, report
from surefoot.cli._shared import add_model_options, find_class, load_model, try_model
from surefoot.data import load_image, locate
from surefoot.errors import SurefootError
from surefoot.explain import Explainer, Explanation, parse
from surefoot.explain._explanation import join
from surefoot.explain._store import check_suffix
from surefoot.files import write_whole

HELP = "draw saliency maps of photographs"
DEFAULT_EXPLAINER = "Decoy(IntegratedGradients(steps=8))"


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        description="Explain what a classifier sees in photographs, and draw it: the photograph, "
        "the plain map, the enhanced map, and the overlay.",
        exit_on_error=False,
    )
    options.add_argument(
        "photo",
        nargs="*",
        type=str,
        metavar="PHOTO",
        help="picture files, or the names of those that installed packages bring: chelsea, coffee, "
        "eagle",
    )
    options.add_argument(
        "--photos", type=list[str], help="the same as PHOTO..., for a configuration file"
    )
    options.add_argument(
        "--config",
        action="config",
        metavar="FILE.yaml",
        help="take options from a file, such as the one a run leaves beside its output",
    )
    add_model_options(options)
    _add_explainer(options)
    _add_files(options)
    return options


def _add_explainer(options: ArgumentParser) -> None:
    options.add_argument(
        "--explainer",
        type=str,
        default=DEFAULT_EXPLAINER,
        metavar="RECIPE",
        help="such as SmoothGrad(Gradient(), samples=20), written as in Python",
    )
    options.add_argument(
        "--target", type=str, metavar="CLASS", help="class index or name (default: the predicted)"
    )
    options.add_argument(
        "--percentile", type=float, default=95, help="at which the heat maps are capped"
    )


def _add_files(options: ArgumentParser) -> None:
    options.add_argument(
        "-o", "--out", type=str, default="map.png", metavar="OUT.png", help="the picture to write"
    )
    options.add_argument(
        "--save-attributions",
        type=str,
        metavar="FILE",
        help="also write the unscaled attributions to a .npz or .safetensors file",
    )


def run(settings: Any) -> None:
    """Explain each photograph by itself, then write picture, attributions and configuration.

    What is finished is written also when a later photograph fails or the run is interrupted.

    Raises:
        SurefootError: an option, a photograph or a file that cannot be used.
    """
    photos = settings.photo or settings.photos or []
    explainer = _check(settings, photos)
    paths = [locate(photo) for photo in photos]
    model, card = load_model(settings)
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = [load_image(path, card.size or 0)[None] for path in paths]
    target = None if settings.target is None else find_class(settings.target, card.labels)
    try_model(model, images[0].to(where))
    finished: list[tuple[Explanation, Tensor | None]] = []
    try:
        for image in tqdm(images, desc="explaining", unit="photograph", disable=None):
            one = _explain(explainer, model, image.to(where), target)
            finished.append(one)
    except RuntimeError as error:  # from the model, or no memory
        raise SurefootError(
            f"{photos[len(finished)]} cannot be explained ({type(error).__name__}: {error})"
        ) from error
    finally:
        if finished:
            _write(settings, card, photos, finished)


def _check(settings: Any, photos: list[str]) -> Explainer:
    """Raise for what can be told before any work; the explainer."""
    if not photos:
        raise SurefootError("no photograph was given; try: surefoot explain chelsea -o map.png")
    report.check_suffix(Path(settings.out))
    if settings.save_attributions:
        check_suffix(Path(settings.save_attributions))
    for path in (settings.out, settings.save_attributions):
        if path and not Path(path).parent.is_dir():
            raise SurefootError(f"cannot write {path}: there is no folder {Path(path).parent}")
    if not 0 < settings.percentile <= 100:
        raise SurefootError(f"--percentile={settings.percentile}, expected a number in (0, 100]")
    return parse(settings.explainer)


def _explain(
    explainer: Explainer, model: nn.Module, image: Tensor, target: int | None
) -> tuple[Explanation, Tensor | None]:
    """One photograph's explanation, and the map of the explainer that is wrapped, if one is."""
    result = explainer.explain(model, image, target)
    base = getattr(explainer, "base", None)
    plain = base(model, image, result.target).cpu() if isinstance(base, Explainer) else None
    return replace(
        result,
        inputs=result.inputs.cpu(),
        attributions=result.attributions.cpu(),
        target=result.target.cpu(),
        probabilities=result.probabilities.cpu(),
        details={name: value.cpu() for name, value in result.details.items()},
    ), plain


def _write(
    settings: Any,
    card: models.Card,
    photos: list[str],
    finished: list[tuple[Explanation, Tensor | None]],
) -> None:
    whole = join([explanation for explanation, _ in finished])
    bases = [plain for _, plain in finished if plain is not None]
    if settings.save_attributions:
        whole.save(settings.save_attributions)
    figure = report.picture(
        whole,
        base=torch.cat(bases) if bases else None,
        labels=card.labels,
        names=[Path(photo).name for photo in photos[: len(finished)]],
        percentile=settings.percentile,
    )
    out = Path(settings.out)
    write_whole(out, report.render(figure, out.suffix.lower()))
    write_whole(out.with_suffix(".yaml"), _config(settings, whole.explainer, photos).encode())
    if len(finished) < len(photos):
        print(
            f"surefoot: {out} holds the {len(finished)} photographs finished of {len(photos)}",
            file=sys.stderr,
        )


def _config(settings: Any, explainer: Explainer, photos: list[str]) -> str:
    """The options as they were, to be loaded with --config."""
    used = settings.clone()
    del used["photo"]
    used.photos, used.explainer = list(photos), repr(explainer)
    text = parser().dump(used, skip_validation=True)
    versions = (
        f"surefoot {surefoot.__version__}, torch {torch.__version__}, "
        f"python {platform.python_version()}"
    )
    return f"# surefoot explain --config THIS_FILE\n# made with {versions}\n{text}"
