"""What the axes of an input mean, said once and followed by whatever reduces, masks or draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from surefoot.errors import SurefootError, suggest

Layout = Literal["image", "volume", "signal", "tokens", "record"]


@dataclass(frozen=True)
class _Axes:
    """The axes of a batch in words, where its channels are, and where its places."""

    words: str
    channels: int | None
    places: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.places) + (1 if self.channels is None else 2)


_AXES: dict[Layout, _Axes] = {
    "image": _Axes("(N, C, H, W)", 1, (2, 3)),
    "volume": _Axes("(N, C, D, H, W)", 1, (2, 3, 4)),
    "signal": _Axes("(N, C, L)", 1, (2,)),
    "tokens": _Axes("(N, T, D)", 2, (1,)),
    "record": _Axes("(N, F)", None, (1,)),
}
# What cannot be mistaken. Three axes can: a signal's places come last, those of tokens do not.
_BY_RANK: dict[int, Layout] = {2: "record", 4: "image", 5: "volume"}


def layout_of(
    inputs: Tensor | Sequence[int],
    model: nn.Module | None = None,
    layout: Layout | None = None,
    *,
    what: str = "inputs",
) -> Layout:
    """The layout of a batch: as given, else as the model says, else what its rank leaves open.

    Args:
        inputs: (N, ...), or its shape.
        model: which may say it: `models.Classifier(net, layout="signal")`, or any module with an
            attribute `layout`.
        layout: as the call says it.
        what: has these axes, for the message.

    Raises:
        SurefootError: nobody says it and it can be mistaken; call and model differ; it does not
            fit the shape.

    >>> layout_of((8, 3, 32, 32)), layout_of((8, 12, 400), layout="signal")
    ('image', 'signal')
    """
    found = known_layout(inputs, model, layout)
    if found is None:
        shape = _shape(inputs)
        if len(shape) != 3:
            raise SurefootError(
                f"{what} have shape {shape}, expected one of "
                + ", ".join(f'{axes.words} "{name}"' for name, axes in _AXES.items())
                + "; reshape them inside the model"
            )
        raise SurefootError(
            f"{what} have shape {shape}: a signal (N, C, L), or embedded tokens (N, T, D)? Say "
            'which: surefoot.models.Classifier(model, layout="signal"), or layout="signal" in '
            'this call; "tokens" likewise. Images without a channel axis get one: x[:, None]'
        )
    return found


def known_layout(
    inputs: Tensor | Sequence[int], model: nn.Module | None = None, layout: Layout | None = None
) -> Layout | None:
    """Like `layout_of`, but None where nobody says it and it can be mistaken."""
    said = said_by(model)
    if layout is not None and said is not None and layout != said:
        raise SurefootError(
            f"layout={layout!r} in this call, but the model says {said!r}; say it in one place"
        )
    found = layout if layout is not None else said
    shape = _shape(inputs)
    return _BY_RANK.get(len(shape)) if found is None else _check(found, shape)


def said_by(model: nn.Module | None) -> Layout | None:
    """What a model, or what it wraps as `.module`, `.model` or `._orig_mod`, says of its inputs."""
    while isinstance(model, nn.Module):
        said = getattr(model, "layout", None)
        if isinstance(said, str) and said in _AXES:
            return said
        inner = (getattr(model, name, None) for name in ("module", "model", "_orig_mod"))
        model = next((one for one in inner if isinstance(one, nn.Module)), None)
    return None


def check_layout(layout: object) -> Layout:
    """`layout` itself, if it is the name of one."""
    if not isinstance(layout, str) or layout not in _AXES:
        raise SurefootError(f"layout={layout!r} is unknown; {suggest(str(layout), _AXES)}")
    return layout


def places(layout: Layout, inputs: Tensor | Sequence[int]) -> tuple[int, ...]:
    """The shape of one number a place for each of `inputs` (N, ...), without the batch.

    >>> places("signal", (2, 12, 400)), places("tokens", (2, 7, 64))
    ((400,), (7,))
    """
    shape = _shape(inputs)
    _check(layout, shape)
    return tuple(shape[axis] for axis in _AXES[layout].places)


def channel_axis(layout: Layout) -> int | None:
    """The dimension of a batch that one place has many numbers along; None for records."""
    return _AXES[check_layout(layout)].channels


def place_axes(layout: Layout) -> tuple[int, ...]:
    """The dimensions of a batch that places lie along."""
    return _AXES[check_layout(layout)].places


def spread(h: Tensor, layout: Layout) -> Tensor:
    """One number a place, (N, *places), so that it broadcasts to the inputs.

    >>> import torch
    >>> spread(torch.zeros(2, 7), "tokens").shape
    torch.Size([2, 7, 1])
    """
    axis = channel_axis(layout)
    return h if axis is None else h.unsqueeze(axis)


def map_shape(
    h: Tensor, inputs: Tensor, layout: Layout | None = None, name: str = "h"
) -> tuple[int, ...]:
    """The shape in which one map of `h` broadcasts to one input, (...) without the batch.

    A map holds one number an entry, one a place, or one a place with an axis of a single channel.

    Args:
        h: (N, ...).
        inputs: (N, ...).
        layout: of the inputs; None takes what cannot be mistaken, or the one `h` fits.
        name: of `h`, for the message.

    Raises:
        SurefootError: the map fits the inputs in no such way.

    >>> import torch
    >>> map_shape(torch.zeros(2, 4, 5), torch.zeros(2, 3, 4, 5))
    (1, 4, 5)
    """
    one, entry = tuple(h.shape[1:]), tuple(inputs.shape[1:])
    if len(h) == len(inputs):
        if one == entry:
            return one
        for each in _candidates(inputs, layout):
            single = _single(each, tuple(inputs.shape))
            if one in (single, places(each, inputs)):
                return single
    meant = f" of layout {layout!r}" if layout is not None else ""
    raise SurefootError(
        f"{name} has shape {tuple(h.shape)}, which does not fit inputs {tuple(inputs.shape)}{meant}"
        "; expected one number a place, as explain.reduce and explain.heatmap give, or one an entry"
    )


def fitted(
    h: Tensor, inputs: Tensor, model: nn.Module | None = None, layout: Layout | None = None
) -> Layout:
    """`layout_of` the inputs, where a map of one number a place may tell a signal from tokens.

    Raises:
        SurefootError: as `layout_of`; also if the map fits both or holds one number an entry.
    """
    found = known_layout(inputs, model, layout)
    if found is None and inputs.ndim == 3:
        one = tuple(h.shape[1:])
        fits = [
            each
            for each in _candidates(inputs, None)
            if one in (places(each, inputs), _single(each, tuple(inputs.shape)))
        ]
        if len(fits) == 1 and one != tuple(inputs.shape[1:]):
            return fits[0]
    return layout_of(inputs, model, found)


def _candidates(inputs: Tensor, layout: Layout | None) -> list[Layout]:
    if layout is not None:
        return [layout]
    return [name for name, axes in _AXES.items() if axes.rank == inputs.ndim]


def _single(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One input's shape with a single channel."""
    axis = _AXES[layout].channels
    return tuple(1 if i == axis else size for i, size in enumerate(shape))[1:]


def _check(layout: Layout, shape: tuple[int, ...]) -> Layout:
    axes = _AXES[check_layout(layout)]
    if len(shape) != axes.rank:
        raise SurefootError(f"layout={layout!r} is {axes.words}, but inputs have shape {shape}")
    return layout


def _shape(inputs: Tensor | Sequence[int]) -> tuple[int, ...]:
    return tuple(inputs.shape) if isinstance(inputs, Tensor) else tuple(inputs)


LAYOUTS: tuple[Layout, ...] = get_args(Layout)
