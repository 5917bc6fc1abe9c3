"""The part of a model below a layer: F_l of the paper, run no further than it needs."""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from surefoot import gradients, models, programs, turns
from surefoot.errors import SurefootError

Name = str | tuple[str, ...]

_ALIKE = {True: 1e-4, False: 0.1}  # rounding, of the largest output: same precision, or half of it


class _Reached(BaseException):
    """Ends a pass once every layer has run; no Exception, lest the model catch it."""


class Trunk:
    """F_l: inputs (R, ...) to the layer's output (R, ...); what comes after it does not run.

    Several layers together are one representation: their outputs flat, side by side (R, m). Where
    a module is called several times in a pass, its first call counts.

    Args:
        model: the whole network.
        layer: the name, or several.
        exact: whether it runs in its own precision under autocast too.
    """

    def __init__(self, model: nn.Module, layer: Name, *, exact: bool = False) -> None:
        self.model = model
        self._exact = exact
        self.layer = layer
        self._names = (layer,) if isinstance(layer, str) else layer

    def __call__(self, rows: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """The output, with a graph where gradients are enabled.

        Raises:
            SurefootError: a layer does not run, or its output is not a tensor of R rows.
        """
        found: dict[str, object] = {}

        def keep(name: str, output: object) -> None:
            # Cloned, because what comes between two layers may write into the first one's output.
            found.setdefault(name, output if len(self._names) == 1 else _cloned(output))
            if len(found) == len(self._names):
                raise _Reached

        plain = torch.autocast(rows.device.type, enabled=False) if self._exact else nullcontext()
        with plain, watching(self.model, self._names, keep), suppress(_Reached):
            gradients.run(self.model, rows, extra)
        for name in self._names:
            if name not in found:
                raise SurefootError(f"layer {name!r} is not run by the model's forward pass")
        outputs = [_tensor(found[name], name, len(rows)) for name in self._names]
        return outputs[0] if len(outputs) == 1 else torch.cat([o.flatten(1) for o in outputs], 1)


def repeated(extra: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """The further inputs of one sample for as many rows."""
    return {name: value.expand(rows, *value.shape[1:]) for name, value in extra.items()}


@contextmanager
def watching(
    model: nn.Module, names: Sequence[str], look: Callable[[str, object], None]
) -> Iterator[None]:
    """`look(name, output)` at each call of these modules by this thread; other threads' are not."""
    mine = threading.get_ident()

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def see(_module: nn.Module, _args: object, output: object) -> None:
            if threading.get_ident() == mine:
                look(name, output)

        return see

    handles: list[RemovableHandle] = []
    # In a turn: whoever is alone with a model puts its hooks back as they were.
    with programs.eagerly(model), _IN_PARTS(), turns.shared():
        try:
            handles.extend(
                model.get_submodule(name).register_forward_hook(hook(name)) for name in names
            )
            yield
        finally:
            for handle in handles:
                handle.remove()


def _in_parts() -> Callable[[], None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    return lambda: torch.backends.mha.set_fastpath_enabled(before)


# Without gradients, PyTorch's transformer layers run as one kernel, on nested tensors at that.
_IN_PARTS = turns.Flags(_in_parts)


def first(output: object) -> object:
    """A layer's output, or what comes first in a tuple or list of them."""
    return output[0] if isinstance(output, (tuple, list)) and output else output


def _cloned(output: object) -> object:
    kept = first(output)
    return kept.clone() if isinstance(kept, Tensor) else kept


def _tensor(output: object, name: str, rows: int) -> Tensor:
    kept = first(output)
    whole = isinstance(kept, Tensor) and not kept.is_nested
    if isinstance(kept, Tensor) and whole and kept.ndim >= 2 and len(kept) == rows:
        return kept
    came = tuple(kept.shape) if isinstance(kept, Tensor) and whole else type(kept).__name__
    raise SurefootError(
        f"layer {name!r} gives {came} for {rows} inputs, expected a tensor with one row an input; "
        "choose another layer"
    )


def quick(trunk: Trunk, sample: Tensor, extra: Mapping[str, Tensor]) -> Trunk:
    """The same trunk up to rounding, for the search: batch norm folded, single precision at least.

    It is compared at the sample (1, ...); where it does not agree, or the model cannot be copied,
    the trunk itself is returned.
    """
    keep = (trunk.layer,) if isinstance(trunk.layer, str) else trunk.layer
    wide = gradients.single(sample)
    more = {
        name: gradients.single(value) if value.is_floating_point() else value
        for name, value in extra.items()
    }
    try:
        model = trunk.model
        if wide.dtype != sample.dtype:
            model = copy.deepcopy(model).to(wide.dtype)
        found = Trunk(models.fold(model, wide, more, keep), trunk.layer, exact=True)
        with torch.no_grad():
            wanted, came = trunk(sample, extra), found(wide, more)
            worst = (came - wanted).abs().max()
            alike = bool(worst <= _ALIKE[wide.dtype == wanted.dtype] * wanted.abs().max())
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return trunk
    return found if alike else trunk
