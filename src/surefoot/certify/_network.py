"""A network as the list of its operations, and bounds through it, forward and back.

The operations are PyTorch's own, below modules and functions, so that it does not matter how a
model is written: its graph is recorded once for each shape of batch.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from surefoot import checks
from surefoot.certify import _activations as activations
from surefoot.certify._bounds import Bound, Form, Symbols, exactly, plus, times
from surefoot.certify._interval import Interval, Rounding
from surefoot.certify._linear_operations import BUILDERS
from surefoot.certify._pooling import POOLS
from surefoot.certify._steps import Step, boxed
from surefoot.errors import SurefootError

_LOST = object()  # a result that nothing is known of


@dataclass(frozen=True)
class Network:
    """A model's operations for one shape of batch.

    Attributes:
        graph: what is computed; its one input is the batch (N, ...), its result the logits (N, K).
        rounding: of the model's dtype.
    """

    graph: fx.GraphModule
    rounding: Rounding

    @classmethod
    def of(cls, model: nn.Module, inputs: Tensor, extra: Mapping[str, Any]) -> "Network":
        """Record what the model does with these inputs."""

        def logits(x: Tensor) -> Tensor:
            return checks.check_logits(model(x, **extra), len(inputs))

        try:
            with torch.no_grad():
                graph = make_fx(torch.func.functionalize(logits))(inputs)
        except SurefootError:
            raise
        except Exception as error:
            raise SurefootError(
                f"the operations of {type(model).__name__} cannot be recorded, so that its gradient"
                f" cannot be bounded: its course must not depend on the values of tensors ({error})"
            ) from error
        return cls(graph, Rounding.of(inputs.dtype))

    def forward(self, ball: Interval, linear: bool) -> "Passed":
        """Bounds of every tensor for inputs in `ball`, (N, ...), float64."""
        known: dict[str, Any] = {}
        steps: dict[str, Step] = {}
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                known[node.name] = Bound(ball, _symbols(ball) if linear else None, node.name)
            elif node.op == "get_attr":
                known[node.name] = _wide(operator.attrgetter(str(node.target))(self.graph))
            elif node.op == "output":
                return Passed(self.rounding, known, steps, node.args[0].name)
            else:
                self._call(node, known, steps)
        raise AssertionError("a graph ends in an output")

    def _call(self, node: fx.Node, known: dict[str, Any], steps: dict[str, Step]) -> None:
        target: Any = node.target
        args: Any
        kwargs: Any
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda used: known.get(used.name))
        used = [known[one.name] for one in node.all_input_nodes]
        if any(value is _LOST for value in used):
            known[node.name] = _LOST
        elif not any(isinstance(value, Bound) for value in used):
            known[node.name] = _wide(target(*args, **kwargs))
        elif target is operator.getitem:
            # Of several results the first is bounded; the others are indices and the like.
            known[node.name] = args[0] if args[1] == 0 else _LOST
        else:
            steps[node.name] = step = self._step(node, args, kwargs)
            known[node.name] = replace(step.push(self.rounding), name=node.name)

    def _step(self, node: fx.Node, args: Any, kwargs: Any) -> Step:
        target: Any = node.target
        name = target.overloadpacket.__name__
        found: Step | None = None
        if name in POOLS:
            found = POOLS[name](*args, **kwargs)
        elif name == "mul" and all(isinstance(arg, Bound) for arg in args):
            found = activations.multiplied(args[0], args[1], self.rounding)
        elif name in BUILDERS:
            build: Any = BUILDERS[name]
            found = build(*args, **kwargs)
        else:
            found = activations.activation(name, args, kwargs, self.rounding)
        if found is None:
            raise SurefootError(
                f"{target} has no bounds here, so that this model's gradient cannot be bounded; "
                "known are dense and convolutional layers, batch norm, sums, products with what is "
                "known, average and maximum pooling over two dimensions, shapes, and "
                f"{', '.join(activations.known())} (none with a negative slope). "
                "certify.Smoothed needs nothing of the model"
            )
        return found


@dataclass(frozen=True)
class Passed:
    """Bounds of every tensor of a network, and the way back.

    Attributes:
        rounding: of the model's dtype.
        known: by name, `Bound`s, and tensors that do not depend on the inputs.
        steps: by the name of their result, in order.
        end: the name of the logits.
    """

    rounding: Rounding
    known: Mapping[str, Any]
    steps: Mapping[str, Step]
    end: str

    @property
    def logits(self) -> Interval:
        """Of the batch, (N, K)."""
        found = self.known[self.end]
        if not isinstance(found, Bound):
            raise SurefootError(
                "the model's output does not depend on its inputs in a way that can be followed"
            )
        return found.interval

    def backward(self, seed: Interval, symbols: int) -> Interval:
        """Bounds of the gradient in the inputs, (N, ...), from those in the logits (N, K)."""
        start, shared = Bound(seed), Symbols(symbols)
        if symbols:
            ones = Interval(torch.ones_like(seed.low), torch.ones_like(seed.low))
            start = times(exactly(ones.low, Bound(seed, boxed(seed))), seed, shared, self.rounding)
        waiting: dict[str, list[Bound]] = {self.end: [start]}
        for name, step in reversed(list(self.steps.items())):
            if name in waiting:
                g = plus(waiting.pop(name), self.rounding)
                for argument, part in step.pull(g, shared, self.rounding):
                    waiting.setdefault(argument, []).append(part)
        (found,) = waiting.values()
        return plus(found, self.rounding).interval


def _symbols(ball: Interval) -> Form:
    """The ball as a zonotope with one symbol for each entry of an input."""
    centre, radius = ball.centre, ball.radius
    entries = centre[0].numel()
    each = torch.eye(entries).to(centre).view(entries, 1, *centre.shape[1:])
    return Form(centre, each * radius, 2**-50 * ball.size)


def _wide(value: Any) -> Any:
    """Numbers in double precision."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().double()
    return value
