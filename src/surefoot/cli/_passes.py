"""How far one map is: inputs sent through the model, of how many about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from surefoot.explain import Decoy, Explainer

# Inputs that the search for one decoy sends through EfficientNet-Lite0, as counted there. Small
# networks are searched more thoroughly, and are done before anybody looks at the bar.
_SEARCH = 20


def expected(explainer: object) -> int:
    """About how many inputs an explainer sends through a model for one map.

    >>> from surefoot.explain import Gradient, IntegratedGradients, SmoothGrad
    >>> expected(SmoothGrad(IntegratedGradients(steps=8), samples=10)), expected(Gradient())
    (80, 1)
    """
    inner = getattr(explainer, "base", None)
    own = expected(inner) if isinstance(inner, Explainer) else 1
    if isinstance(explainer, Decoy):
        return explainer.decoys * (own + _SEARCH)
    for name in ("steps", "samples", "n_steps", "nt_samples"):
        count = getattr(explainer, name, None) or getattr(explainer, "options", {}).get(name)
        if isinstance(count, int):
            return count * own
    return own


@contextmanager
def counted(model: nn.Module, bar: Any) -> Iterator[None]:
    """Move a bar of tqdm on with every input that goes through the model; never to its end."""
    if bar.disable:
        yield
        return

    def step(_module: nn.Module, inputs: tuple[object, ...], _output: object) -> None:
        rows = len(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else 1
        bar.update(min(rows, max(bar.total - bar.n - 1, 0)))

    # The first layer, through which the search for decoys goes, too, that ends at another.
    leaves = (part for part in model.modules() if not list(part.children()))
    first = next((part for part in leaves if list(part.parameters())), model)
    handle = first.register_forward_hook(step)
    try:
        yield
    finally:
        handle.remove()
