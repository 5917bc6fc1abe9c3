"""One request of an explainer, checked at the door, which travels with its rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, paths
from surefoot.errors import SurefootError
from surefoot.gradients._calls import check_call
from surefoot.gradients._door import Door, flat_target
from surefoot.gradients._run import predict
from surefoot.maps import AnyLayout, Layout, Parts, known_layout, layout_of

Inputs = Tensor | Sequence[Tensor]
Target = checks.Target | Sequence[int] | Sequence[tuple[int, ...]]

_ROWS: ContextVar[tuple[Tensor | None, int | None]] = ContextVar("rows", default=(None, None))


@dataclass(frozen=True)
class Query:
    """One request, checked: what is explained, for which class, and whether a graph is wanted.

    Explainers pass it down to the explainers they wrap; `expand` and `take` keep `target`,
    `extra` and `rows` in step.

    Attributes:
        model: what is called; several inputs and arguments that are the same for all samples are
            behind a `Door`.
        inputs: (N, ...), of several inputs their entries side by side, (N, F).
        target: (N,).
        extra: further arguments of the model by name, tensors with one row a sample.
        create_graph: whether the result is to be differentiated.
        layout: what the axes of the inputs mean, None where three axes are left unsaid; of
            several inputs their `Parts`.
        rows: (n,), which of the call's samples each row belongs to; None where each is its own.
        samples: how many the call has, if known.
    """

    model: nn.Module
    inputs: Tensor
    target: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    create_graph: bool = False
    layout: AnyLayout | None = None
    rows: Tensor | None = None
    samples: int | None = None

    @property
    def count(self) -> int | None:
        """How many samples the call has, if that is known."""
        return len(self.inputs) if self.rows is None else self.samples

    @property
    def numbers(self) -> Tensor:
        """Which sample of the call each row belongs to, (n,)."""
        if self.rows is None:
            return torch.arange(len(self.inputs), device=self.inputs.device)
        return self.rows

    def each(self, value: Tensor, name: str, ndim: int | None = None) -> Tensor:
        """A setting for these rows: one for all, (...) or (1, ...), or one row a sample.

        Raises:
            SurefootError: another number of rows than the call has samples.
        """
        if value.ndim < (self.inputs.ndim if ndim is None else ndim) or len(value) == 1:
            return value
        fits = len(value) == self.count
        if self.count is None:  # those of a larger set, as in an audit
            fits = len(value) > int(self.numbers.max())
        if not fits:
            raise SurefootError(
                f"{name} has shape {tuple(value.shape)}, expected one for all samples, (1, ...), "
                f"or one row for each of the {self.count or ''} samples of the call"
            )
        return value[self.numbers.to(value.device)]

    def axes(self) -> AnyLayout:
        """What the axes of the inputs mean, of several inputs their `Parts`.

        Raises:
            SurefootError: there are three axes and neither the call nor the model says.
        """
        if not isinstance(self.layout, Parts):
            return layout_of(self.inputs, layout=self.layout)
        for number in range(len(self.layout.shapes)):
            self.layout.needed(number)
        return self.layout

    def needed_layout(self) -> Layout:
        """What the axes of the one input mean.

        Raises:
            SurefootError: there are three axes and neither the call nor the model says; several
                inputs.
        """
        axes = self.axes()
        if isinstance(axes, Parts):
            raise SurefootError(
                "this takes one input (N, ...), not several; explain one of them and pass the "
                "others as extra={name: tensor}"
            )
        return axes

    def known_layout(self) -> Layout | None:
        """What the axes of the one input mean; None where that is left unsaid, or of several."""
        return None if isinstance(self.layout, Parts) else self.layout

    def returned(self, values: Tensor) -> Any:
        """Values shaped like the inputs (N, ...), in the form in which the inputs came."""
        return self.layout.split(values) if isinstance(self.layout, Parts) else values

    def start(self, baseline: paths.Baseline | tuple[paths.Baseline, ...]) -> Tensor:
        """A baseline shaped like the inputs; for several inputs one for each, or one number.

        Raises:
            SurefootError: it does not broadcast to the inputs, or is not finite.
        """
        if not isinstance(self.layout, Parts):
            return self._start(baseline, self.inputs)
        inputs = self.layout.split(self.inputs)
        each = baseline(inputs) if callable(baseline) else baseline  # type: ignore[arg-type]
        many = each if isinstance(each, tuple) else (each,) * len(inputs)
        if len(many) != len(inputs):
            raise SurefootError(f"{len(many)} baselines came for {len(inputs)} inputs")
        found = zip(many, inputs, strict=True)
        return self.layout.join([self._start(one, x) for one, x in found])

    def _start(self, baseline: Any, inputs: Tensor) -> Tensor:
        if isinstance(baseline, Tensor):
            baseline = self.each(baseline, "the baseline", inputs.ndim)
        return paths.resolve_baseline(baseline, inputs)

    def bounds(self, bounds: Any) -> checks.Bounds:
        """Bounds of the inputs; for several inputs each end is a number, or one for each.

        Raises:
            SurefootError: they are no pair, or an end does not fit an input.
        """
        if not isinstance(self.layout, Parts) or not isinstance(bounds, Sequence):
            return bounds  # type: ignore[no-any-return]
        inputs, ends = self.layout.split(self.inputs), []
        for end in bounds:
            each = end if isinstance(end, tuple | list) else (end,) * len(inputs)
            if len(each) != len(inputs):
                raise SurefootError(f"{len(each)} bounds came for {len(inputs)} inputs")
            pairs = zip(each, inputs, strict=True)
            wide = [checks.broadcast_bound(one, x)[None] for one, x in pairs]
            ends.append(self.layout.join(wide)[0])
        return tuple(ends)  # type: ignore[return-value]

    def take(self, samples: slice | Tensor) -> "Query":
        """The same request for some of the samples, by slice, numbers or mask."""
        return replace(
            self,
            inputs=self.inputs[samples],
            target=self.target[samples],
            extra={name: value[samples] for name, value in self.extra.items()},
            rows=self.numbers[samples],
            samples=self.count,
        )

    def expand(self, variants: Tensor) -> "Query":
        """The request for `variants` (N, V, ...) of each sample, flattened to N * V rows."""
        times = variants.shape[1]
        return replace(
            self,
            inputs=variants.flatten(0, 1),
            target=self.target.repeat_interleave(times),
            extra={name: value.repeat_interleave(times, 0) for name, value in self.extra.items()},
            rows=self.numbers.repeat_interleave(times),
            samples=self.count,
        )


def query(
    model: nn.Module,
    inputs: Inputs,
    target: Target = None,
    extra: Mapping[str, Any] | None = None,
    create_graph: bool | None = None,
    layout: Any = None,
    *,
    several: bool = False,
) -> Query:
    """Check a request and resolve its target; `target=None` is the class predicted for `inputs`.

    Args:
        model: in evaluation mode.
        inputs: (N, ...), or a tuple of such if `several`.
        target: one class or (N,); if `several` also indices into an output (N, ...), as a tuple
            or a list of N tuples. Whether it is in range is checked where its score is taken.
        extra: further arguments of the model by name: tensors with one row a sample, and anything
            that is no tensor, which is passed on as it is.
        create_graph: None means: if inputs require a gradient and gradients are enabled.
        layout: what the axes of `inputs` mean, where the model does not say so and it can be
            mistaken; of several inputs one name for each.
        several: whether the caller can do with several inputs, or targets of several indices.

    Raises:
        SurefootError: what came does not fit the model; the message names it.
    """
    checks.check_model(model)
    each = _each(inputs, several)
    if create_graph is None:
        create_graph = any(x.requires_grad for x in each) and torch.is_grad_enabled()
    with torch.inference_mode(False):
        each = [ordinary(x if create_graph else x.detach()) for x in each]
        rows, given = _arguments(model, each, extra)
        axes = _axes(each, model, layout, packed=not isinstance(inputs, Tensor))
        joined = each[0]
        if isinstance(axes, Parts) and not isinstance(inputs, Tensor):
            model, joined = Door(model, axes, given), axes.join(each)
        elif given:
            model = Door(model, None, given)
        if _is_indices(target):
            if not several:
                raise SurefootError(_ONE_NUMBER.format(target=target))
            one = {name: value[:1] for name, value in rows.items()}
            labels = flat_target(model, target, joined[:1], one, len(joined))
            model = Door(model, flat=True)
        elif target is None:
            labels = predict(model, joined, rows).argmax(1)
        else:
            labels = ordinary(checks.check_target(target, joined))
    numbers, samples = _ROWS.get()
    if numbers is None or len(numbers) != len(joined):
        numbers = samples = None
    else:
        numbers = numbers.to(joined.device)
    return Query(model, joined, labels, rows, create_graph, axes, numbers, samples)


@contextmanager
def numbered(rows: Tensor, samples: int | None = None) -> Iterator[None]:
    """What is asked for inside, with as many inputs as rows, is about these samples (n,).

    For explainers that are called with tensors in the middle of something larger, so that settings
    with one row a sample go on to follow it; `samples` is the number of all, if known.
    """
    token = _ROWS.set((rows, samples))
    try:
        yield
    finally:
        _ROWS.reset(token)


_ONE_NUMBER = (
    "target={target!r} has several indices, which only explainers take; here wrap the model so "
    "that it gives the outputs (N, K) meant: "
    "surefoot.models.Classifier(model, output=lambda found: found[:, :, 3, 5])"
)


def _each(inputs: Inputs, several: bool) -> list[Tensor]:
    """The inputs, checked, as a list."""
    if not isinstance(inputs, tuple | list):
        checks.check_inputs(inputs)  # type: ignore[arg-type]
        return [inputs]  # type: ignore[list-item]
    if not several:
        raise SurefootError(
            f"inputs is a {type(inputs).__name__} of {len(inputs)}, expected one tensor (N, ...); "
            "explain one of them and pass the others as extra={name: tensor}. Explainers and "
            "attacks take a tuple"
        )
    for number, one in enumerate(inputs):
        checks.check_inputs(one, f"inputs[{number}]")
    sizes = {len(one) for one in inputs}
    if len(sizes) != 1:
        raise SurefootError(
            f"the inputs have {[len(one) for one in inputs]} samples, expected as many of each"
        )
    return list(inputs)


def _axes(
    inputs: Sequence[Tensor], model: nn.Module, layout: Any, *, packed: bool
) -> AnyLayout | None:
    if isinstance(layout, Parts):
        return layout
    if packed:
        return Parts.of(inputs, layout, model)
    single: Layout | None = layout
    return known_layout(inputs[0], model, single)


def _arguments(
    model: nn.Module, inputs: Sequence[Tensor], extra: Mapping[str, Any] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Arguments with one row a sample, and those that are the same for all."""
    named = checks.check_names(extra)
    whole = {name: value for name, value in named.items() if not _has_rows(value)}
    rows = {name: value for name, value in named.items() if name not in whole}
    rows = {**companions(model, inputs), **checks.check_extra(rows, len(inputs[0]))}
    own = _told(model, "token_names", len(inputs)) or ()
    check_call(model, len(inputs), {n: v for n, v in {**rows, **whole}.items() if n not in own})
    return {name: ordinary(value) for name, value in rows.items()}, whole


def companions(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """What must go along with the inputs by the model's own account, such as their tokens."""
    found: dict[str, Tensor] = _told(model, "companions", *inputs) or {}
    return found


def _told(model: nn.Module, what: str, *about: Any) -> Any:
    """What the model's method of that name says, or that of the one it wraps; None without."""
    asked: object = model
    while isinstance(asked, nn.Module):
        tell = getattr(asked, what, None)
        if callable(tell):
            return tell(*about)
        names = ("module", "_orig_mod", "model")
        asked = next((m for name in names if (m := getattr(asked, name, None)) is not None), None)
    return None


def _has_rows(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _is_indices(target: object) -> bool:
    if isinstance(target, list):
        return bool(target) and all(isinstance(one, tuple) for one in target)
    return isinstance(target, tuple)


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one made under `torch.inference_mode()`: autograd refuses those."""
    return tensor.clone() if tensor.is_inference() else tensor
