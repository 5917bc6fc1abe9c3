"""`surefoot attack PHOTO... -o attack.png`: whether explanations hold, as a picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from surefoot import gradients, report
from surefoot.attack import AttackResult, AttributionAttack, RandomSign, default_k
from surefoot.cli import _outputs, _pages, _photographs as photographs
from surefoot.cli._attacks import add_attack_options, make_attack, make_controls
from surefoot.cli._options import add
from surefoot.cli._pages import Page, Progress
from surefoot.cli._photographs import Case
from surefoot.decoy import Settings, choose_layer
from surefoot.explain import Decoy, Explainer, parse, reduce, to_json
from surefoot.files import write_tensors

HELP = "attack the saliency maps of photographs, and draw what is left"


@dataclass(frozen=True)
class Job:
    """What is done to each photograph.

    Attributes:
        attack: with everything but its progress.
        explainer: the attacked one.
        score_with: the one whose maps are compared; None takes the attacked one.
        controls: random signs of the same size, one a seed; none if the attack is itself one.
    """

    attack: AttributionAttack
    explainer: Explainer
    score_with: Explainer | None
    controls: list[RandomSign]


def parser() -> ArgumentParser:
    """The options of the command."""
    options = photographs.photographs_parser(
        "Change photographs by less than anyone sees so that the map that explains the prediction "
        "changes and the prediction does not. Draws original, perturbed, their difference "
        "magnified, and the maps before and after, and gives the scores beside those of random "
        "signs of the same size: a score means nothing without that floor."
    )
    add_attack_options(options)
    add(
        options,
        "explainer score_with target percentile colours picture rows out save force",
        explainer={
            "default": "Gradient()",
            "help": "what is attacked, such as SmoothGrad(Gradient(), samples=20), written as in "
            "Python; a Decoy(...) is attacked adaptively",
        },
        out={"default": "attack.png"},
    )
    return options


def run(settings: Any) -> None:
    """Attack each photograph by itself, then write picture, results and configuration.

    What is finished is written also when a later photograph fails or the run is interrupted.

    Raises:
        SurefootError: an option, a photograph or a file that cannot be used.
    """
    photos = photographs.given(settings, "attack")
    photographs.check_files(settings, photos, settings.save)
    explainer = parse(settings.explainer)
    score_with = parse(settings.score_with) if settings.score_with else None
    make_attack(_sized(settings, 1, 1))  # what is wrong with it is told before the model is loaded
    case = photographs.load(settings, photos)
    settings = _sized(settings, len(case.images[0][0]), case.images[0][0, 0].numel())
    job = Job(
        make_attack(settings),
        _settled(explainer, case),
        None if score_with is None else _settled(score_with, case),
        make_controls(settings),
    )
    if settings.towards is not None:
        job = replace(job, attack=_aimed(job, case, settings.towards))
    _pages.each_photograph(
        settings,
        case,
        lambda image, progress: _attack(job, case, image, progress),
        lambda page, finished: _write(settings, job, page, finished),
        verbs=("attacking", "attacked"),
        units=settings.steps * settings.restarts,
        unit="step",
    )


def _sized(settings: Any, channels: int, places: int) -> Any:
    """The options with the defaults that go by the size of the inputs."""
    sized = settings.clone()
    if settings.epsilon is None:
        sized.epsilon = (1 if settings.norm == "linf" else math.sqrt(channels * places)) / 255
    if settings.k is None:
        sized.k = default_k(places)
    return sized


def _settled(explainer: Explainer, case: Case) -> Explainer:
    """The explainer, a decoy map's with its layer named."""
    if not isinstance(explainer, Decoy):
        return explainer
    layer = choose_layer(case.model, case.images[0], {}, Settings.of(explainer))
    return replace(explainer, layer=layer)


def _aimed(job: Job, case: Case, photo: str) -> AttributionAttack:
    """Manipulation towards a photograph's own map, for its own predicted class."""
    wanted = reduce(job.explainer(case.model, case.load(photo)), job.attack.reduction)
    return replace(job.attack, towards=wanted[0])  # type: ignore[call-arg]


def _attack(job: Job, case: Case, image: Tensor, progress: Progress) -> report.Attacked:
    """One photograph's result, its control and its probabilities."""
    result: AttackResult = replace(job.attack, progress=progress)(
        case.model, image, case.target, job.explainer, score_with=job.score_with
    )
    clean, moved = (
        gradients.predict(case.model, each).softmax(1) for each in (result.originals, result.inputs)
    )
    return report.Attacked(result, clean, moved, _control(job, case, result), len(job.controls))


def _control(job: Job, case: Case, result: AttackResult) -> dict[str, Tensor]:
    """The mean scores of the controls on the same maps, the attack's own score included."""
    each = []
    for control in job.controls:
        args = (case.model, result.originals, result.target, result.explainer)
        found: AttackResult = control(*args, score_with=result.explainer)
        before, after = (job.attack.reduced(maps) for maps in (found.before, found.after))
        own = {job.attack.score_name: job.attack.score(after, job.attack.hold(before))}
        each.append({**found.scores, **own})
    shared = [name for name in result.scores if all(name in scores for scores in each)]
    return {name: torch.stack([scores[name] for scores in each]).mean(0) for name in shared if each}


def _write(settings: Any, job: Job, page: Page, finished: list[report.Attacked]) -> dict[str, Any]:
    whole = replace(report.join(finished), labels=page.case.card.labels, names=page.case.names)
    figure = report.attack_picture(whole, **photographs.look(settings))
    picture = report.render(figure, Path(settings.out).suffix.lower())
    saved = [page.path(settings.save)] if settings.save else []
    for path in saved:
        write_tensors(path, _content(whole), _recipes(job, whole.result))
    files = _pages.write_picture(
        settings,
        page,
        picture,
        command="attack",
        parser=parser(),
        used={
            "explainer": repr(job.explainer),
            "score_with": None if job.score_with is None else repr(job.score_with),
        },
    )
    files += saved
    _outputs.say(settings, report.attack_table(whole))
    _outputs.wrote(settings, files)
    return _found(page.case, whole, files)


def _found(case: Case, whole: report.Attacked, files: list[Path]) -> dict[str, Any]:
    """What was found, by name."""
    result = whole.result

    def shown(scores: Mapping[str, Tensor], row: int) -> dict[str, float | None]:
        values = {name: float(value[row]) for name, value in scores.items()}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    return {
        "command": "attack",
        "attack": repr(result.attack),
        "explainer": repr(result.explainer),
        "model": case.card.name,
        "photographs": [
            {
                "photograph": case.photos[row],
                "class": int(result.target[row]),
                "label": case.label(int(result.target[row])),
                "kept": bool(result.label_kept[row]),
                "scores": shown(result.scores, row),
                "random signs": shown(whole.control, row),
            }
            for row in range(len(result))
        ],
        "files": list(map(str, files)),
    }


def _content(whole: report.Attacked) -> dict[str, Tensor]:
    result = whole.result
    names = ("originals", "inputs", "before", "after", "label_kept", "target")
    return {
        **{name: getattr(result, name) for name in names},
        "probabilities.before": whole.clean,
        "probabilities.after": whole.moved,
        **{f"scores.{name}": value for name, value in result.scores.items()},
        **{f"control.{name}": value for name, value in whole.control.items()},
    }


def _recipes(job: Job, result: AttackResult) -> dict[str, str]:
    return {
        "attack": repr(result.attack),
        "explainer": to_json(job.explainer),
        "score_with": to_json(result.explainer),
    }
