"""What several commands need: the options that say which model, and what becomes of them."""

from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from surefoot import gradients, models
from surefoot.cli._options import DEFAULT_CHANNELS, DEFAULT_MODEL, DEFAULT_SIZE, add
from surefoot.data import load_labels
from surefoot.errors import SurefootError, suggest


def add_model_options(parser: ArgumentParser, default: str | None = DEFAULT_MODEL) -> None:
    """The options that `load_model` reads."""
    names = "model weights classes mean std size channels labels device threads"
    add(parser, names, model={"default": default})


def load_model(settings: Any) -> tuple[nn.Module, models.Card]:
    """The model on its device, and its card with size, labels and channels as the options say.

    Raises:
        SurefootError: an option that cannot be used.
    """
    set_threads(settings.threads)
    where = device(settings.device)
    model = _load(settings)
    known = models.card(model)
    card = models.Card(
        known.name,
        settings.size or known.size or DEFAULT_SIZE,
        tuple(load_labels(settings.labels)) if settings.labels else known.labels,
        settings.channels or known.channels or DEFAULT_CHANNELS,
    )
    return model.to(where), card


def set_threads(threads: int | None) -> None:
    """Use so many CPU threads, None for as many as there are."""
    if threads is None:
        return
    if threads < 1:
        raise SurefootError(f"--threads={threads}, expected at least 1")
    torch.set_num_threads(threads)


def _load(settings: Any) -> nn.Module:
    built = settings.channels is not None and settings.model in models.names()
    return models.load(
        settings.model,
        weights=settings.weights,
        mean=_each(settings.mean),
        std=_each(settings.std),
        classes=settings.classes,
        **({"channels": settings.channels} if built else {}),
    )


def device(name: str) -> torch.device:
    """The device of that name, after trying it; "auto" takes an accelerator if there is one."""
    if name == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else mps)
    try:
        where = torch.device(name)
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise SurefootError(f"--device={name} cannot be used here: {reason}") from error
    return where


def try_model(model: nn.Module, inputs: Tensor) -> Tensor:
    """The logits (N, K), with whatever the model itself raises said in one line."""
    try:
        return gradients.predict(model, inputs)
    except gradients.ModelError as error:
        reason = error.__cause__
        raise SurefootError(
            f"the model fails on inputs {tuple(inputs.shape)} ({type(reason).__name__}: {reason}); "
            f"--size sets the side of its inputs, and --channels 1 or {DEFAULT_CHANNELS} whether "
            "they are grey"
        ) from error


def find_class(text: str, labels: tuple[str, ...] | None) -> int:
    """A class given by index or by name."""
    if text.lstrip("-").isdigit():
        return int(text)
    if labels is None:
        raise SurefootError(f"--target={text} is a name, but no names are known: pass --labels")
    lowered = [label.lower() for label in labels]
    if text.lower() not in lowered:
        close, found, _ = suggest(text, labels).partition("There are:")
        close = close if found else ""
        raise SurefootError(f"--target={text} is no class; {close}expected an index or a name")
    return lowered.index(text.lower())


def _each(values: list[float] | None) -> float | list[float] | None:
    return values[0] if values is not None and len(values) == 1 else values
