"""Which layers are cuts: everything that reaches the output passes them.

Detached at a cut, the output has no gradient in the input. One pass with a graph tells it of all
layers at once: a tensor is a cut if as many ways lead from the output through it to the input as
lead there at all. Values play no part, so dead units hide nothing.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import Node


class Vertex(NamedTuple):
    """A tensor in the graph: the node that made it, and which of the node's results it is."""

    node: Node | None
    number: int


def vertex(tensor: Tensor) -> Vertex:
    """Where a tensor stands in its graph."""
    return Vertex(tensor.grad_fn, tensor.output_nr)


class Ways:
    """The ways from an output back to an input that requires a gradient, in a recorded graph.

    Args:
        output: whose ways they are.
        inputs: the leaf where they end.
        tensors: others of the graph that will be asked for.
    """

    def __init__(self, output: Tensor, inputs: Tensor, tensors: Collection[Vertex] = ()) -> None:
        self._root = vertex(output)
        self._order = _order([*(tensor.node for tensor in tensors), self._root.node])
        self._down: dict[Node | None, int] = {None: 0}
        self._leaf: Node | None = None
        for node in self._order:
            if getattr(node, "variable", None) is inputs:
                self._leaf, self._down[node] = node, 1
            else:
                self._down[node] = sum(self._down[after] for after, _ in node.next_functions)
        self._up = self._counted(())

    def connected(self) -> bool:
        """Whether any way leads to the input."""
        return self._down[self._root.node] > 0

    def sees(self, tensor: Vertex) -> bool:
        """Whether this tensor depends on the input."""
        return self._down.get(tensor.node, 0) > 0

    def ends_at(self, tensor: Vertex) -> bool:
        """Whether this tensor is the output itself."""
        return tensor == self._root

    def all_pass(self, tensor: Vertex) -> bool:
        """Whether every way passes this tensor."""
        through = self._up[tensor] * self._down.get(tensor.node, 0)
        return self.connected() and through == self._down[self._root.node]

    def none_around(self, tensors: Collection[Vertex]) -> bool:
        """Whether every way passes one of these tensors."""
        counted = self._counted(tensors)
        return self.connected() and not any(
            number for tensor, number in counted.items() if tensor.node is self._leaf
        )

    def _counted(self, without: Collection[Vertex]) -> dict[Vertex, int]:
        """How many ways lead from the output to each tensor, none of them through `without`."""
        up: dict[Vertex, int] = defaultdict(int)
        at: dict[Node | None, int] = defaultdict(int)
        if self._root not in without:
            up[self._root] = at[self._root.node] = 1
        for node in reversed(self._order):
            for after in (Vertex(*next_) for next_ in node.next_functions):
                if self._down[after.node] and after not in without:
                    up[after] += at[node]
                    at[after.node] += at[node]
        return up


def _order(roots: list[Node | None]) -> list[Node]:
    """Every node after those it leads to."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, done = stack.pop()
        if node is None:
            continue
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((next_, False) for next_, _ in node.next_functions)
    return order
