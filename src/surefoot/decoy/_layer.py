"""The part of a model below a layer: F_l of the paper, run no further than it needs."""

from collections.abc import Mapping

from torch import Tensor, nn

from surefoot import gradients
from surefoot.errors import SurefootError


class _Reached(BaseException):
    """Carries the layer's output out of a pass; no Exception, lest the model catch it."""

    def __init__(self, output: object) -> None:
        self.output = output


class Trunk:
    """F_l: inputs (R, ...) to the layer's output, flattened to (R, m); the rest does not run.

    Where a module is called several times in a pass, its first call counts.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.model = model
        self.layer = layer

    def __call__(self, rows: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """The output in its own shape (R, ...), with a graph where gradients are enabled.

        Raises:
            SurefootError: the layer does not run, or its output is not a tensor of R rows.
        """

        def stop(_module: nn.Module, _args: object, output: object) -> None:
            raise _Reached(output)

        handle = self.model.get_submodule(self.layer).register_forward_hook(stop)
        try:
            gradients.run(self.model, rows, extra)
        except _Reached as reached:
            return self._tensor(reached.output, len(rows))
        finally:
            handle.remove()
        raise SurefootError(f"layer {self.layer!r} is not run by the model's forward pass")

    def _tensor(self, output: object, rows: int) -> Tensor:
        first = output[0] if isinstance(output, (tuple, list)) and output else output
        if isinstance(first, Tensor) and first.ndim >= 2 and len(first) == rows:
            return first
        came = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise SurefootError(
            f"layer {self.layer!r} gives {came} for {rows} inputs, expected a tensor with one row "
            "an input; choose another layer"
        )
